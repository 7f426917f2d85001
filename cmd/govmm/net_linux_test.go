//go:build linuxtest

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"govmm/machine/guesttest"
)

// netKernels are those with which networks are tested.
var netKernels = []string{"6.1-cloud", "6.12-cloud"}

// transferSize is what guests fetch.
const transferSize = 100 << 20

// serveFile serves random bytes by HTTP at address, and gives the port and their sum.
func serveFile(t *testing.T, address string) (port int, sum string) {
	t.Helper()
	return serveBytes(t, address, transferSize)
}

func serveBytes(t *testing.T, address string, size int) (port int, sum string) {
	t.Helper()
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	hash := sha256.Sum256(data)
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(data) })}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().(*net.TCPAddr).Port, hex.EncodeToString(hash[:])
}

// fetch has the guest fetch the file, and checks it.
func fetch(s *session, url, sum string) {
	s.t.Helper()
	s.run("wget -O /tmp/file " + url)
	if got := guestSum(s, "/tmp/file"); got != sum {
		s.t.Errorf("the guest fetched a file with the sum %s, not %s", got, sum)
	}
	s.run("rm /tmp/file")
}

// lease has the guest get its address by DHCP.
func lease(s *session) {
	s.t.Helper()
	s.run("dhclient -ipv6=false")
}

// TestUserNetwork is a network without privileges: the guest gets an address, fetches from the host, and is reached.
func TestUserNetwork(t *testing.T) {
	for _, kernel := range netKernels {
		t.Run(kernel, func(t *testing.T) { userNetwork(t, guesttest.Kernel(t, kernel)) })
	}
}

// TestTinyNetwork does the same with govmm's own kernel, over either transport, and by a tap.
func TestTinyNetwork(t *testing.T) {
	kernel := guesttest.Kernel(t, "tiny")
	for _, transport := range []string{"pci", "mmio"} {
		t.Run(transport, func(t *testing.T) { userNetwork(t, kernel, "--transport", transport) })
	}
	t.Run("tap", func(t *testing.T) { routedTap(t, kernel) })
}

func userNetwork(t *testing.T, kernel string, flags ...string) {
	t.Helper()
	port, sum := serveFile(t, "127.0.0.1")
	forwarded := freePort(t)
	s := startSession(t, append(flags, "-a", "quiet", "-m", "1G", "-c", "2", "-n", fmt.Sprintf("user,hostfwd=tcp::%d-:7000", forwarded),
		kernel, guesttest.Initramfs(t))...)
	lease(s)
	fetch(s, fmt.Sprintf("http://10.0.2.2:%d/", port), sum)
	s.run("ping -c 3 10.0.2.2")
	answers(s, fmt.Sprintf("127.0.0.1:%d", forwarded))
	s.powerOff()
}

// answers has the guest serve a line at port 7000, and fetches it by address.
func answers(s *session, address string) {
	s.t.Helper()
	s.run("echo guest-says-hello >/tmp/line")
	s.run("{ serve 7000 /tmp/line & }")
	var line string
	for deadline := time.Now().Add(patience); !strings.Contains(line, "hello") && time.Now().Before(deadline); {
		line = dialLine(address)
	}
	if strings.TrimSpace(line) != "guest-says-hello" {
		s.fatalf("the guest's server at %s gave %q", address, line)
	}
}

// dialLine reads what there is at an address; nothing if nobody listens yet.
func dialLine(address string) string {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		time.Sleep(100 * time.Millisecond)
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	p := make([]byte, 100)
	n, _ := io.ReadAtLeast(c, p, 1)
	if n == 0 {
		time.Sleep(100 * time.Millisecond)
	}
	return string(p[:n])
}

// freePort returns a port that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestPortInUse holds that a forward from a port that somebody has is refused in a line.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := finish(t, command(t, "boot", "-n", fmt.Sprintf("user,hostfwd=tcp:%s-:80", l.Addr()), guesttest.Kernel(t, usualKernel)))
	if r.status != 1 {
		t.Error(r)
	}
	checkOneLine(t, r.stderr, fmt.Sprintf("%s is in use", l.Addr()))
}

// TestBridge has two guests on one bridge, which reach the host and each other. One is on a tap that is made for it, one, with another kernel, on a tap
// that is there.
func TestBridge(t *testing.T) {
	tool(t, "ip", "link", "add", "br7", "type", "bridge")
	t.Cleanup(func() { tool(t, "ip", "link", "del", "br7") })
	tool(t, "ip", "addr", "add", "10.77.0.1/24", "dev", "br7")
	tool(t, "ip", "link", "set", "br7", "up")
	tool(t, "ip", "tuntap", "add", "dev", "tap7", "mode", "tap")
	t.Cleanup(func() { tool(t, "ip", "link", "del", "tap7") })
	tool(t, "ip", "link", "set", "tap7", "master", "br7", "up")
	port, sum := serveFile(t, "10.77.0.1")

	a := startSession(t, "-a", "quiet", "-m", "1G", "-c", "2", "-n", "tap,bridge=br7", guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t))
	b := startSession(t, "-a", "quiet", "-m", "1G", "-n", "tap=tap7", guesttest.Kernel(t, "6.1-cloud"), guesttest.Initramfs(t))
	for i, s := range []*session{a, b} {
		s.run(fmt.Sprintf("ip addr add 10.77.0.%d/24 dev eth0", 2+i))
		s.run("ip link set eth0 up")
		fetch(s, fmt.Sprintf("http://10.77.0.1:%d/", port), sum)
	}
	a.run("ping -c 3 10.77.0.3")
	b.run("ping -c 3 10.77.0.2")
	answers(a, "10.77.0.2:7000")
	a.powerOff()
	b.powerOff()
}

// TestRoutedTap has a guest on a tap that is made for it and masqueraded, and holds that nothing of it stays.
func TestRoutedTap(t *testing.T) { routedTap(t, guesttest.Kernel(t, usualKernel)) }

func routedTap(t *testing.T, kernel string) {
	t.Helper()
	port, sum := serveFile(t, "0.0.0.0")
	tool(t, "ip", "link", "add", "far7", "type", "bridge") // an address of the host behind no interface of the guest's
	t.Cleanup(func() { tool(t, "ip", "link", "del", "far7") })
	tool(t, "ip", "addr", "add", "10.78.0.1/24", "dev", "far7")
	s := startSession(t, "-a", "quiet", "-m", "1G", "-n", "tap", kernel, guesttest.Initramfs(t))
	_, address, _ := strings.Cut(s.stderr.String(), "the guest's address is ")
	address, _, _ = strings.Cut(address, "/")
	s.run("dhclient -ipv6=false eth0")
	if got := s.run("ip addr show eth0"); address == "" || !strings.Contains(got, address) {
		t.Errorf("govmm says %q, DHCP gave %s", s.stderr.String(), got)
	}
	fetch(s, fmt.Sprintf("http://10.78.0.1:%d/", port), sum)
	s.typeLine("poweroff")
	if status := s.end(); status != 0 {
		t.Errorf("exit status %d, standard error %q", status, s.stderr.String())
	}
	if left := tool(t, "ip", "-o", "link", "show", "type", "tun"); strings.TrimSpace(left) != "" {
		t.Errorf("a tap is left: %s", left)
	}
}
