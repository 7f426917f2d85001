package usernet

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// TestTCPFlows holds the bound on TCP connections: one more is refused, in either direction, and there is room again when one has ended.
func TestTCPFlows(t *testing.T) {
	addr := hostServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	b := newBackend(t, Config{Forwards: []Forward{{GuestPort: 80}}})
	g := newGuest(t, b, allOffloads)
	listenInGuest(t, g)
	b.tcpFlows.Add(maxTCPFlows - 1) // of others
	last, err := g.dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.dial(addr); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("one more: %v", err)
	}
	if n, err := hostReads(b.Forwards()[0].HostPort); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("one more from the host: %d bytes, %v", n, err)
	}
	last.Close()
	awaitConnections(t, b, maxTCPFlows-1)
	g.mustDial(addr).Close()
	awaitConnections(t, b, maxTCPFlows-1)
	b.tcpFlows.Add(1 - maxTCPFlows)
}

// TestForwardedFlows holds the bound on connections that the host's side begins, which leaves the guest's own a place.
func TestForwardedFlows(t *testing.T) {
	b := newBackend(t, Config{Forwards: []Forward{{GuestPort: 80}}})
	g := newGuest(t, b, allOffloads)
	go greet(listenInGuest(t, g))
	b.forwarded.Add(maxForwarded) // of others
	b.tcpFlows.Add(maxForwarded)
	if n, err := hostReads(b.Forwards()[0].HostPort); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("one more from the host: %d bytes, %v", n, err)
	}
	g.mustDial(hostServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) }))
	b.forwarded.Add(-1)
	if n, err := hostReads(b.Forwards()[0].HostPort); n != 1 {
		t.Errorf("the last from the host: %d bytes, %v", n, err)
	}
	b.forwarded.Add(1 - maxForwarded)
	b.tcpFlows.Add(-maxForwarded)
}

// TestQueueBytes holds the bound on what waits for a guest that acknowledges and does not take: then there is room again.
func TestQueueBytes(t *testing.T) {
	b := newBackend(t, Config{})
	const size = 64 << 10
	segment := func() bool { return b.queue.put(entry{bytes: size}) }
	n := 0
	for segment() {
		n++
	}
	if n != queueBytes/size {
		t.Errorf("%d segments of %d bytes wait", n, size)
	}
	b.queue.take()
	if !segment() || segment() {
		t.Error("there is not room for one and one only")
	}
}

// TestGathers has connections send when there are no buffers left to gather segments in, and holds that those that there are come back, also from one
// whose host takes nothing.
func TestGathers(t *testing.T) {
	b := newBackend(t, Config{})
	g := newGuest(t, b, allOffloads)
	addr, accepted := silent(t)
	fill(t, g, addr)
	<-accepted
	abortAll(g)
	awaitConnections(t, b, 0)
	if n := b.gathers.Load(); n != 0 {
		t.Fatalf("%d buffers have not come back", n)
	}
	b.gathers.Add(maxGathers)
	c := g.mustDial(hostServer(t, func(c *net.TCPConn) { io.Copy(c, c) }))
	want := bytes.Repeat([]byte("0123456789"), 20_000)
	go func() {
		for rest := want; len(rest) > 0; {
			n, _ := c.Write(rest[:min(len(rest), 700)])
			rest = rest[n:]
		}
		c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d came back, or others: %v", len(got), len(want), err)
	}
	awaitConnections(t, b, 0)
	if n := b.gathers.Add(-maxGathers); n != 0 {
		t.Errorf("%d buffers are counted", n)
	}
}

// TestSocketBuffers holds that the kernel's buffers are small for those who are many, and else are the kernel's to size.
func TestSocketBuffers(t *testing.T) {
	addr, _ := silent(t)
	c, err := net.Dial("tcp", strings.Replace(addr, "10.0.2.2", "127.0.0.1", 1))
	must(t, err)
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	must(t, err)
	sizes := func() (sizes [2]int) {
		raw.Control(func(fd uintptr) {
			sizes[0], _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
			sizes[1], _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		})
		return sizes
	}
	before := sizes()
	must(t, setSocket(raw, false))
	if got := sizes(); got != before {
		t.Errorf("they were %d bytes and are %d", before, got)
	}
	must(t, setSocket(raw, true))
	if want := [2]int{2 * socketBuffer, 2 * socketBuffer}; sizes() != want { // the kernel doubles it, for what it keeps beside the data
		t.Errorf("they are %d bytes, want %d", sizes(), want)
	}
}

// TestInboundClients holds that one who sends from many ports does not take the places of others, and that all have a port of their own.
func TestInboundClients(t *testing.T) {
	var table inboundTable
	table.init()
	l := new(listener)
	get := func(host byte, port uint16) *client {
		return table.get(l, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, host}, Port: int(port)})
	}
	first := get(1, 1)
	for port := range uint16(5000) {
		get(2, port)
	}
	if again := get(1, 1); again != first {
		t.Error("the first client has lost his place")
	}
	if n := len(table.byKey); n != maxSame+1 || len(table.byPort) != n {
		t.Errorf("%d clients, %d ports", n, len(table.byPort))
	}
	for host := range byte(100) {
		for port := range uint16(100) {
			get(host, port)
		}
	}
	if n := len(table.byKey); n != maxUDPFlows || len(table.byPort) != n {
		t.Errorf("%d clients, %d ports", n, len(table.byPort))
	}
	for port, c := range table.byPort {
		if c.port != port || port < firstInboundPort {
			t.Fatalf("port %d is that of a client with %d", port, c.port)
		}
	}
}

// hostReads connects to a port of the host's and reads a byte.
func hostReads(port uint16) (int, error) {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.Read(make([]byte, 1))
}

// TestEchoFlows holds the bound on ping sockets, each of which stands for an address that the guest pings.
func TestEchoFlows(t *testing.T) {
	b := newBackend(t, Config{})
	if b.echo.most != maxEchoFlows {
		t.Errorf("the bound is %d", b.echo.most)
	}
	// Sockets of UDP in the place of ping sockets, which the host's administrator may have forbidden.
	to := netip.MustParseAddrPort(strings.Replace(udpEcho(t), "10.0.2.2", "127.0.0.1", 1))
	for ident := range uint16(3 * maxEchoFlows) {
		k := flowKey{guest: netip.AddrPortFrom(b.cfg.Guest, ident), remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 0)}
		if _, err := b.newFlow(&b.echo, k, 0, to, b.deliverEcho); err != nil {
			t.Fatal(err)
		}
	}
	b.echo.mu.Lock()
	defer b.echo.mu.Unlock()
	if n := len(b.echo.flows); n != maxEchoFlows {
		t.Errorf("%d flows", n)
	}
}

// TestNoDescriptors is a process that may open no more: what the guest and the host's clients ask for is refused or lost, the log says
// why in a line or two, and when there are descriptors again, it works.
func TestNoDescriptors(t *testing.T) {
	addr := hostServer(t, func(c *net.TCPConn) { io.WriteString(c, "hello") })
	echo := udpEcho(t)
	var log bytes.Buffer
	b := newBackend(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Forwards: []Forward{{GuestPort: 80}}})
	g := newGuest(t, b, allOffloads)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	must(t, unix.SetsockoptTimeval(client, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	go greet(listenInGuest(t, g))

	takeAll, restore := forbidDescriptors(t, client)
	for range 10 {
		takeAll() // also what others have given back meanwhile
		if _, err := g.dial(addr); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("TCP: %v", err)
		}
		u := g.dialUDP(echo)
		u.Write([]byte("lost"))
	}
	g.send.Lock()
	b.Pair(0).Send([][]byte{echoRequest("192.0.2.1", "some data")})
	g.send.Unlock()
	port := b.Forwards()[0].HostPort
	if err := unix.Connect(client, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Errorf("the host's client: %v", err) // the kernel completes it, and nobody can accept it
	}
	time.Sleep(300 * time.Millisecond) // for the listener to try more than once
	restore()

	p := make([]byte, 10)
	if n, err := unix.Read(client, p); err != nil || string(p[:max(n, 0)]) != "come in" {
		t.Errorf("the host's client with descriptors again: %q, %v", p[:max(n, 0)], err)
	}
	if got, err := io.ReadAll(g.mustDial(addr)); err != nil || string(got) != "hello" {
		t.Errorf("with descriptors again: %q, %v", got, err)
	}
	u := g.dialUDP(echo)
	fmt.Fprint(u, "hello")
	if n, err := u.Read(p); err != nil || string(p[:n]) != "hello" {
		t.Errorf("UDP with descriptors again: %q, %v", p[:n], err)
	}
	b.Close() // the log is not written any more
	lines := strings.Count(log.String(), "\n")
	if !strings.Contains(log.String(), "TCP connection not made") || !strings.Contains(log.String(), "no connection accepted") || lines > 4 {
		t.Errorf("%d lines: %s", lines, log.String())
	}
}

// listenInGuest listens at the guest's port 80 until the test ends.
func listenInGuest(t *testing.T, g *guest) *gonet.TCPListener {
	t.Helper()
	l, err := gonet.ListenTCP(g.stack, stackAddr("10.0.2.15:80"), ipv4.ProtocolNumber)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// greet says something to whoever connects.
func greet(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "come in")
		c.Close()
	}
}

// forbidDescriptors has the process have no more than a thousand descriptors, all of which takeAll takes, by copies of one that is open, until restore is called or the test ends.
func forbidDescriptors(t *testing.T, open int) (takeAll, restore func()) {
	t.Helper()
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(was.Cur, 1000), Max: was.Max}))
	var taken []int
	restore = sync.OnceFunc(func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(restore)
	return func() {
		for {
			fd, err := unix.FcntlInt(uintptr(open), unix.F_DUPFD_CLOEXEC, 0)
			if err == unix.EMFILE {
				return
			}
			must(t, err)
			taken = append(taken, fd)
		}
	}, restore
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
