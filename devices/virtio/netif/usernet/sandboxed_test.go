package usernet

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"govmm/devices/virtio/netif/tap/nettest"
	"govmm/sandbox"
)

// sandboxedVariable has the test binary be a process in a network of its own, for TestSandboxed.
const sandboxedVariable = "GOVMM_TEST_SANDBOXED"

// TestSandboxed has a process in the sandbox carry all kinds of connections: the guest's by TCP and UDP, and those of a neighbour on a link of the host's, with an address of
// that link only, to forwarded ports, for which package net would make a socket of a kind that ends the process.
func TestSandboxed(t *testing.T) {
	if os.Getenv(sandboxedVariable) != "" {
		sandboxed(t)
		return
	}
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestSandboxed$", "-test.v")
	c.Env = append(os.Environ(), sandboxedVariable+"=1")
	nettest.Isolate(c)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func sandboxed(t *testing.T) {
	index := loopbackUp(t)
	b := newBackend(t, Config{Forwards: []Forward{
		{Host: ipv6Any, GuestPort: 80}, {Host: ipv6Any, UDP: true, GuestPort: 7},
	}})
	g := newGuest(t, b, allOffloads)
	server, echo := hostServer(t, func(c *net.TCPConn) { io.WriteString(c, "hello") }), udpEcho(t)
	l := listenInGuest(t, g)
	go greet(l)
	at := stackAddr("10.0.2.15:7")
	s, err := gonet.DialUDP(g.stack, &at, nil, ipv4.ProtocolNumber)
	must(t, err)
	defer s.Close()
	if missing, err := sandbox.Apply(sandbox.Policy{Sockets: sandbox.NewSockets, Complaint: "forbidden: ", Ending: "\n"}); err != nil {
		t.Fatal(missing, err)
	}
	go func() {
		p := make([]byte, 100)
		n, addr, err := s.ReadFrom(p)
		if err == nil {
			s.WriteTo(append(p[:n:n], '!'), addr)
		}
	}()
	if got, err := io.ReadAll(g.mustDial(server)); err != nil || string(got) != "hello" {
		t.Errorf("the guest's TCP: %q, %v", got, err)
	}
	u := g.dialUDP(echo)
	fmt.Fprint(u, "hello")
	q := make([]byte, 10)
	if n, err := u.Read(q); err != nil || string(q[:n]) != "hello" {
		t.Errorf("the guest's UDP: %q, %v", q[:n], err)
	}
	peer := func(kind, forward int) int {
		fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			err := unix.Connect(fd, &unix.SockaddrInet6{Addr: linkLocalAddress, ZoneId: index, Port: int(b.Forwards()[forward].HostPort)})
			if err != unix.ENETUNREACH || time.Now().After(deadline) { // the address is new
				must(t, err)
				return fd
			}
		}
	}
	p := make([]byte, 100)
	tcp := peer(unix.SOCK_STREAM, 0)
	if n, err := unix.Read(tcp, p); err != nil || string(p[:n]) != "come in" {
		t.Errorf("TCP: %q, %v", p[:max(0, n)], err)
	}
	udp := peer(unix.SOCK_DGRAM, 1)
	fmt.Fprint(os.NewFile(uintptr(udp), "socket"), "hello")
	if n, err := unix.Read(udp, p); err != nil || string(p[:n]) != "hello!" {
		t.Errorf("UDP: %q, %v", p[:max(0, n)], err)
	}
}

var (
	ipv6Any          = netip.IPv6Unspecified()
	linkLocalAddress = [16]byte{0: 0xfe, 1: 0x80, 15: 1}
)

// loopbackUp gives the loopback an address that stands for a link's, and brings it up. It gives its number.
func loopbackUp(t *testing.T) (index uint32) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	must(t, err)
	must(t, unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r))
	index = r.Uint32()
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	must(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r))
	out, err := exec.Command("sh", "-c", "PATH=$PATH:/usr/sbin:/sbin exec ip -6 address add fe80::1/64 dev lo nodad").CombinedOutput()
	if err != nil {
		t.Fatalf("ip: %v: %s (apt-get install iproute2)", err, out)
	}
	return index
}
