package usernet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"govmm/devices/virtio/netif"
)

func itoa(n uint16) string { return fmt.Sprint(n) }

// udpEcho answers datagrams on the host's loopback with themselves.
func udpEcho(tb testing.TB) (guestSees string) {
	tb.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	go func() {
		p := make([]byte, 1<<16)
		for {
			n, addr, err := c.ReadFrom(p)
			if err != nil {
				return
			}
			c.WriteTo(p[:n], addr)
		}
	}()
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return "10.0.2.2:" + port
}

// TestUDP holds that datagrams go and come, also empty ones and those that the MTU cuts into fragments.
func TestUDP(t *testing.T) {
	each(t, func(t *testing.T, offloads netif.Offloads) {
		g := newGuest(t, newBackend(t, Config{}), offloads)
		c := g.dialUDP(udpEcho(t))
		for _, n := range []int{0, 1, 1471, 1472, 1473, 9000, maxDatagram} {
			want := bytes.Repeat([]byte{byte(n), 1, 2}, n/3+1)[:n]
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 1<<16)
			m, err := c.Read(got)
			if err != nil || !bytes.Equal(got[:m], want) {
				t.Errorf("%d bytes of %d, error %v", m, n, err)
			}
		}
	})
}

// TestUDPFlows holds the bound on flows: the idle ones make room.
func TestUDPFlows(t *testing.T) {
	b := newBackend(t, Config{})
	b.udp.most = 8
	g := newGuest(t, b, allOffloads)
	addr := udpEcho(t)
	for i := range 50 {
		c := g.dialUDP(addr)
		fmt.Fprint(c, i)
		p := make([]byte, 10)
		if n, err := c.Read(p); err != nil || string(p[:n]) != fmt.Sprint(i) {
			t.Fatalf("flow %d: %q, error %v", i, p[:n], err)
		}
	}
	b.udp.mu.Lock()
	defer b.udp.mu.Unlock()
	if len(b.udp.flows) > 8 {
		t.Errorf("%d flows", len(b.udp.flows))
	}
}

// TestClosedGates holds what Restrict and NoLoopback take away.
func TestClosedGates(t *testing.T) {
	reached := func(*net.TCPConn) { t.Error("the host's loopback was reached") }
	for _, cfg := range []Config{{NoLoopback: true}, {Restrict: true}} {
		addr := hostServer(t, reached)
		g := newGuest(t, newBackend(t, cfg), allOffloads)
		if _, err := g.dial(addr); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("error %v", err)
		}
		u := g.dialUDP(udpEcho(t))
		u.Write([]byte("hello"))
		u.SetDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := u.Read(make([]byte, 10)); err == nil {
			t.Errorf("%d bytes", n)
		}
	}
}

// TestUnreachable holds that no packet of the guest goes where no router sends any, above all not to 127.0.0.1.
func TestUnreachable(t *testing.T) {
	b := newBackend(t, Config{})
	for addr, want := range map[string]bool{
		"127.0.0.1": false, "127.8.8.8": false, "0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false,
		"240.0.0.1": false, "10.0.2.255": false, "10.0.2.0": false, "10.0.2.15": false, "10.0.2.99": false,
		"10.0.2.2": true, "10.0.2.3": true, "10.0.3.1": true, "192.0.2.1": true, "8.8.8.8": true,
	} {
		if got := b.reachable(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	for addr, want := range map[string]bool{"10.0.2.15": true, "10.0.2.77": true, "10.0.2.2": false, "10.0.2.3": false, "10.0.2.255": false, "10.0.2.0": false, "192.0.2.1": false, "127.0.0.1": false} {
		if got := b.isGuest(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s as the source: %v", addr, got)
		}
	}
}

// echoRequest returns the frame of a ping from the guest.
func echoRequest(dst string, data string) []byte {
	p := make([]byte, prefixSize+header.IPv4MinimumSize+header.ICMPv4MinimumSize)
	putEther(p[netif.HeaderSize:], hostMAC, guestMAC, typeIPv4)
	ip := header.IPv4(p[prefixSize:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + header.ICMPv4MinimumSize + len(data)), TTL: 64, Protocol: 1,
		SrcAddr: toStack(netip.MustParseAddr("10.0.2.15")), DstAddr: toStack(netip.MustParseAddr(dst)),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	p = append(p, data...)
	h := header.ICMPv4(p[prefixSize+header.IPv4MinimumSize:])
	h.SetType(header.ICMPv4Echo)
	h.SetIdent(0x1234)
	h.SetSequence(7)
	h.SetChecksum(header.ICMPv4Checksum(h, 0))
	return p
}

// await returns the next frame, without the virtio header.
func await(t *testing.T, p netif.Pair) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
		if n, err := p.Receive([][]byte{buffer}); err == nil {
			return buffer[netif.HeaderSize:n]
		}
		if err := p.Wait(ctx); err != nil {
			t.Fatal("no frame came")
		}
	}
}

// checkPing checks that p is the reply to echoRequest.
func checkPing(t *testing.T, p []byte, dst string) {
	t.Helper()
	ip := header.IPv4(p[etherSize:])
	h := header.ICMPv4(ip.Payload())
	if ip.SourceAddress() != toStack(netip.MustParseAddr(dst)) || h.Type() != header.ICMPv4EchoReply || h.Ident() != 0x1234 ||
		h.Sequence() != 7 || !strings.HasSuffix(string(h), "some data") || header.ICMPv4Checksum(h, 0) != h.Checksum() {
		t.Errorf("%s: %x", dst, []byte(ip))
	}
}

// TestPing holds that the gateway and the name server answer pings.
func TestPing(t *testing.T) {
	p := newBackend(t, Config{}).Pair(0)
	for _, dst := range []string{"10.0.2.2", "10.0.2.3"} {
		p.Send([][]byte{echoRequest(dst, "some data")})
		checkPing(t, await(t, p), dst)
		// One that the guest may send in one piece, as several segments.
		frame := echoRequest(dst, strings.Repeat("x", 1463)+"some data")
		p.Send([][]byte{frame[:20], frame[20:200], frame[200:201], frame[201:]})
		checkPing(t, await(t, p), dst)
	}
}

// TestWrongPing holds that a ping with a wrong checksum is not answered.
func TestWrongPing(t *testing.T) {
	p := newBackend(t, Config{}).Pair(0)
	for i := range 2 {
		frame := echoRequest("10.0.2.2", "some data")
		frame[prefixSize+[]int{10, header.IPv4MinimumSize + 2}[i]] ^= 1 // of IP, of ICMP
		p.Send([][]byte{frame})
	}
	p.Send([][]byte{echoRequest("10.0.2.3", "some data")})
	checkPing(t, await(t, p), "10.0.2.3")
}

// TestPingOutside holds that other hosts answer where this one allows ping sockets, and that the log has the reason where
// it does not.
func TestPingOutside(t *testing.T) {
	var log bytes.Buffer
	b := newBackend(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	dst := hostAddress(t)
	s, err := dialDatagram(unix.IPPROTO_ICMP, netip.AddrPortFrom(dst, 0))
	b.Pair(0).Send([][]byte{echoRequest(dst.String(), "some data")})
	if err == nil {
		s.Close()
		checkPing(t, await(t, b.Pair(0)), dst.String())
		return
	}
	if !strings.Contains(log.String(), "ping_group_range") {
		t.Errorf("log %q", log.String())
	}
	// What would come back has the kernel's identifier.
	k := flowKey{guest: netip.MustParseAddrPort("10.0.2.15:4660"), remote: netip.AddrPortFrom(dst, 0)}
	route, stackErr := b.stack.FindRoute(nic, toStack(dst), toStack(b.cfg.Guest), header.IPv4ProtocolNumber, false)
	if stackErr != nil {
		t.Fatal(stackErr)
	}
	defer route.Release()
	b.deliverEcho(&flow{key: k, route: route}, append([]byte{0, 0, 9, 9, 9, 9, 0, 7}, "some data"...))
	checkPing(t, await(t, b.Pair(0)), dst.String())
}

// hostAddress returns an address of the host that is not of its loopback.
func hostAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	t.Fatal("the host has no IPv4 address beside 127.0.0.1: give it one, ip addr add 192.0.2.1/32 dev lo")
	return netip.Addr{}
}

// TestARP holds that our addresses are answered for, and no others, which the guest may want itself.
func TestARP(t *testing.T) {
	b := newBackend(t, Config{})
	for addr, want := range map[string]bool{"10.0.2.2": true, "10.0.2.3": true, "10.0.2.15": false, "10.0.2.77": false, "8.8.8.8": false} {
		p := make([]byte, prefixSize+arpSize)
		putEther(p[netif.HeaderSize:], broadcastMAC, guestMAC, typeARP)
		a := p[prefixSize:]
		copy(a, arpStart[:])
		binary.BigEndian.PutUint16(a[6:], arpRequest)
		copy(a[8:], guestMAC[:])
		copy(a[24:], netip.MustParseAddr(addr).AsSlice())
		b.Pair(0).Send([][]byte{p[:20], p[20:]})
		buffer := make([]byte, 100)
		n, err := b.Pair(0).Receive([][]byte{buffer})
		if (err == nil) != want {
			t.Errorf("%s: error %v", addr, err)
		} else if err == nil {
			r := buffer[prefixSize:n]
			if mac(buffer[netif.HeaderSize:]) != guestMAC || binary.BigEndian.Uint16(r[6:]) != arpReply || mac(r[8:]) != hostMAC || !bytes.Equal(r[14:18], a[24:28]) {
				t.Errorf("%s: answer %x", addr, r)
			}
		}
	}
}

// fakeResolver answers each question with its text and a word of its own, by UDP and TCP.
func fakeResolver(t *testing.T, word string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close(); l.Close() })
	go func() {
		p := make([]byte, 1000)
		for {
			n, from, err := u.ReadFrom(p)
			if err != nil {
				return
			}
			u.WriteTo(append(p[:n:n], word...), from)
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, word)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestDNS holds that questions reach a resolver of the host, by UDP and TCP, and that one that does not answer is
// given up for the next.
func TestDNS(t *testing.T) {
	b := newBackend(t, Config{})
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	b.resolvers.list = []netip.AddrPort{silent.LocalAddr().(*net.UDPAddr).AddrPort(), fakeResolver(t, " 192.0.2.7")}
	b.resolvers.checked = time.Now().Add(time.Hour)
	g := newGuest(t, b, allOffloads)
	u := g.dialUDP("10.0.2.3:53")
	u.Write([]byte("example.com?"))
	silent.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := silent.ReadFrom(make([]byte, 100)); err != nil {
		t.Error(err)
	}
	time.Sleep(1100 * time.Millisecond) // no resolver asks again earlier
	u.Write([]byte("example.com?"))
	p := make([]byte, 100)
	if n, err := u.Read(p); err != nil || string(p[:n]) != "example.com? 192.0.2.7" {
		t.Errorf("answer %q, error %v", p[:n], err)
	}
	if got, err := io.ReadAll(g.mustDial("10.0.2.3:53")); err != nil || string(got) != " 192.0.2.7" {
		t.Errorf("answer by TCP %q, error %v", got, err)
	}
	if _, err := g.dial("10.0.2.3:80"); err == nil {
		t.Error("the name server has another port")
	}
}

// TestNoResolvers holds that without any there is the one on the host itself.
func TestNoResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if got, err := readResolvers(path); fmt.Sprint(got) != "[127.0.0.1:53]" || !errors.Is(err, fs.ErrNotExist) {
		t.Error(got, err)
	}
}

// TestResolversChange holds that the file is read again when it has changed.
func TestResolversChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	r := resolvers{path: path}
	for _, addr := range []string{"192.0.2.1", "192.0.2.22"} {
		if err := os.WriteFile(path, []byte("nameserver "+addr+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.checked = time.Time{}
		if got := r.pick(0).Addr().String(); got != addr {
			t.Errorf("%s, want %s", got, addr)
		}
	}
}
