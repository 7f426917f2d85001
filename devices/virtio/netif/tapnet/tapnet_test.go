package tapnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif"
	"govmm/devices/virtio/netif/tap"
	"govmm/devices/virtio/netif/tap/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

func newNetwork(t *testing.T, o Options) *Network {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if err := n.Start(0); err != nil {
		t.Fatal(err)
	}
	return n
}

// send sends a frame.
func send(t *testing.T, b netif.Backend, frame []byte) {
	t.Helper()
	if err := b.Pair(0).Send([][]byte{make([]byte, netif.HeaderSize), frame}); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next frame that want takes.
func receive(t *testing.T, b netif.Backend, want func(frame []byte) bool) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
	for {
		n, err := b.Pair(0).Receive([][]byte{buffer})
		switch {
		case errors.Is(err, netif.ErrNoFrame):
			if err := b.Pair(0).Wait(ctx); err != nil {
				t.Fatalf("no frame came: %v", err)
			}
		case err != nil:
			t.Fatal(err)
		case want(buffer[netif.HeaderSize:n]):
			return buffer[netif.HeaderSize:n]
		}
	}
}

func isType(etherType uint16) func([]byte) bool {
	return func(f []byte) bool { return binary.BigEndian.Uint16(f[12:]) == etherType }
}

// TestBridge has two guests on a bridge.
func TestBridge(t *testing.T) {
	nettest.Bridge(t, "bridge0")
	nettest.SetMTU(t, "bridge0", 1400)
	a, b := newNetwork(t, Options{Bridge: "bridge0"}), newNetwork(t, Options{Bridge: "bridge0"})
	if n := a.Info().MTU; n != 1400 {
		t.Errorf("MTU %d", n)
	}
	if address, gateway := a.Guest(); address.IsValid() || gateway.IsValid() {
		t.Errorf("a guest on a bridge is to be %v", address)
	}
	for i := range 10 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		want := nettest.Frame(byte(i), 200)
		want[5], want[11] = byte(i%2), byte(1-i%2)
		send(t, from, want)
		if got := receive(t, to, isType(nettest.EtherType)); !bytes.Equal(got, want) {
			t.Errorf("frame %d: %x", i, got)
		}
	}
	name := a.Name()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if !iface(name).gone() {
		t.Errorf("%s is there after Close", name)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		options Options
		want    string
	}{
		{Options{}, "one of Bridge and Routed"},
		{Options{Bridge: "bridge0", Routed: true}, "one of Bridge and Routed"},
		{Options{Bridge: "bridge9"}, "ip link add bridge9 type bridge"},
		{Options{Bridge: "lo"}, "not a bridge"},
		{Options{Bridge: "a-name-that-is-too-long"}, "1 to 15 characters"},
		{Options{Routed: true, Pairs: 100}, "at most 32"},
	} {
		n, err := New(test.options)
		if err == nil {
			n.Close()
			t.Errorf("%+v: no error", test.options)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test.options, err)
		}
	}
	if !iface("govmm0").gone() {
		t.Error("a tap is left")
	}
}

// forwarding reads whether the host routes.
func forwarding(t *testing.T) bool {
	t.Helper()
	p, err := os.ReadFile(forwardFile)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(p)) == "1"
}

// TestRoutedCleansUp holds that nothing is left, in whatever order networks come and go.
func TestRoutedCleansUp(t *testing.T) {
	for _, was := range []string{"0", "1"} {
		if err := os.WriteFile(forwardFile, []byte(was), 0); err != nil {
			t.Fatal(err)
		}
		for _, firstIn := range []bool{true, false} {
			a, b := newNetwork(t, Options{Routed: true}), newNetwork(t, Options{Routed: true})
			guestA, _ := a.Guest()
			guestB, gatewayB := b.Guest()
			if guestA.Overlaps(guestB) || !guestB.Contains(gatewayB) || guestB.Addr() == gatewayB {
				t.Errorf("guests are %v and %v, by %v", guestA, guestB, gatewayB)
			}
			if !firstIn {
				a, b = b, a
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if !forwarding(t) {
				t.Error("forwarding went with the first of two")
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if forwarding(t) != (was == "1") {
				t.Errorf("forwarding was %s, and is %v", was, forwarding(t))
			}
			if names, err := ours(); err != nil || len(names) != 0 {
				t.Errorf("tables %v, %v", names, err)
			}
		}
	}
	os.WriteFile(forwardFile, []byte("0"), 0)
}

// TestLock holds that steps wait for those of another process, but not for ever, and that only who may make taps can keep them waiting.
func TestLock(t *testing.T) {
	other, err := os.Open(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if st, err := other.Stat(); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may open %s: %v, %v", lockFile, st.Mode(), err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	did := false
	step := func() error { did = true; return nil }
	if err := lockedWithin(50*time.Millisecond, step); !errors.Is(err, unix.EWOULDBLOCK) || did {
		t.Errorf("the lock of another process: %v, done %v", err, did)
	}
	time.AfterFunc(50*time.Millisecond, func() { unix.Flock(int(other.Fd()), unix.LOCK_UN) })
	if err := locked(step); err != nil || !did {
		t.Errorf("when it is given back: %v, done %v", err, did)
	}
}

// TestLeftByKill finds the table of a process that was killed, whose tap is gone.
func TestLeftByKill(t *testing.T) {
	n := newNetwork(t, Options{Routed: true})
	n.routed.dhcp.close()
	n.Tap.Close()
	if names, err := ours(); err != nil || len(names) != 2 {
		t.Fatalf("tables %v, %v", names, err)
	}
	again := newNetwork(t, Options{Routed: true})
	if again.Name() != n.Name() {
		t.Errorf("taps %s and %s", n.Name(), again.Name())
	}
	again.Close()
	if names, err := ours(); err != nil || len(names) != 0 || forwarding(t) {
		t.Errorf("tables %v, %v", names, err)
	}
	n.routed = nil
}

// TestSweep has somebody else remove what a routed tap leaves, whose tap is gone, or has come back as another's.
func TestSweep(t *testing.T) {
	n := newNetwork(t, Options{Routed: true})
	trace, err := n.Trace()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.CloseTap(); err != nil {
		t.Fatal(err)
	}
	again := newNetwork(t, Options{Routed: true})
	if again.Name() != n.Name() {
		t.Errorf("taps %s and %s", n.Name(), again.Name())
	}
	if err := Sweep(trace); err != nil {
		t.Error(err)
	}
	if names, err := ours(); err != nil || len(names) != 2 || !forwarding(t) {
		t.Errorf("the second tap has lost tables: %v, %v", names, err)
	}
	if trace, err = again.Trace(); err != nil {
		t.Fatal(err)
	}
	if err := again.CloseTap(); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(trace); err != nil {
		t.Error(err)
	}
	if names, err := ours(); err != nil || len(names) != 0 || forwarding(t) {
		t.Errorf("tables %v, %v are left", names, err)
	}
	n.routed, again.routed = nil, nil
}

// An address of the test's other networks.
var (
	guestMAC   = []byte{2, 0, 0, 0, 0, 5}
	serverMAC  = []byte{2, 0, 0, 0, 0, 6}
	uplinkAddr = netip.MustParseAddr("192.0.2.1")
	serverAddr = netip.MustParseAddr("192.0.2.2")
)

// arp is an ARP packet (RFC 826): a request if to is nil.
func arp(from []byte, fromAddr netip.Addr, to []byte, toAddr netip.Addr) []byte {
	f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, from...)
	operation := byte(1)
	if to != nil {
		copy(f, to)
		operation = 2
	} else {
		to = make([]byte, 6)
	}
	f = append(f, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation)
	f = append(append(f, from...), fromAddr.AsSlice()...)
	f = append(append(f, to...), toAddr.AsSlice()...)
	return append(f, make([]byte, 18)...)
}

// isARP takes ARP packets of the operation that ask for, or come from, the address.
func isARP(operation byte, a netip.Addr) func([]byte) bool {
	at := 38
	if operation == 2 {
		at = 28
	}
	return func(f []byte) bool {
		return isType(0x0806)(f) && f[21] == operation && bytes.Equal(f[at:at+4], a.AsSlice())
	}
}

// udp is a datagram from port 1000 to port 2000, or back, without checksum.
func udp(from, to []byte, fromAddr, toAddr netip.Addr, ports [4]byte, text string) []byte {
	size := 28 + len(text)
	ip := []byte{0x45, 0, byte(size >> 8), byte(size), 0, 1, 0, 0, 64, 17, 0, 0}
	ip = append(append(ip, fromAddr.AsSlice()...), toAddr.AsSlice()...)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	f := append(append(append([]byte{}, to...), from...), 8, 0)
	f = append(append(f, ip...), ports[0], ports[1], ports[2], ports[3], byte((size-20)>>8), byte(size-20), 0, 0)
	return append(f, text...)
}

func isUDP(f []byte) bool { return isType(0x0800)(f) && f[23] == 17 }

// TestMasquerade sends a datagram from a routed guest to a server on another network of the host's, and an answer back. What the guest
// sends in another's name goes nowhere.
func TestMasquerade(t *testing.T) {
	uplink, err := tap.Create("uplink%d", tap.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer uplink.Close()
	up := iface(uplink.Name())
	for _, err := range []error{
		up.setAddress(unix.SIOCSIFADDR, uplinkAddr),
		up.setAddress(unix.SIOCSIFNETMASK, netip.MustParseAddr("255.255.255.0")),
		up.up(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n := newNetwork(t, Options{Routed: true})
	address, gateway := n.Guest()
	guest := address.Addr()

	send(t, n, arp(guestMAC, guest, nil, gateway))
	hostMAC := bytes.Clone(receive(t, n, isARP(2, gateway))[22:28])
	out := [4]byte{3, 232, 7, 208}
	send(t, n, udp(guestMAC, hostMAC, netip.MustParseAddr("192.0.2.77"), serverAddr, out, "forged"))
	send(t, n, udp(guestMAC, hostMAC, guest.Next(), serverAddr, out, "forged"))
	send(t, n, udp(guestMAC, hostMAC, guest, serverAddr, out, "question"))

	asked := receive(t, uplink, isARP(1, serverAddr))
	uplinkMAC := bytes.Clone(asked[22:28])
	send(t, uplink, arp(serverMAC, serverAddr, uplinkMAC, uplinkAddr))
	got := receive(t, uplink, isUDP)
	if source := netip.AddrFrom4([4]byte(got[26:30])); source != uplinkAddr || !bytes.HasSuffix(got, []byte("question")) {
		t.Fatalf("the server got %q from %v", got[42:], source)
	}
	back := [4]byte{7, 208, got[34], got[35]}
	send(t, uplink, udp(serverMAC, uplinkMAC, serverAddr, uplinkAddr, back, "answer"))
	// The host asks for the guest's hardware address only if it has forgotten it.
	got = receive(t, n, isUDP)
	if to := netip.AddrFrom4([4]byte(got[30:34])); to != guest || !bytes.HasSuffix(got, []byte("answer")) {
		t.Errorf("the guest got %q for %v", got[42:], to)
	}
}

func TestChoose(t *testing.T) {
	p := netip.MustParsePrefix
	for _, test := range []struct {
		used []netip.Prefix
		n    int
		want string
	}{
		{nil, 0, "10.213.0.0/30"},
		{nil, 3, "10.213.0.12/30"},
		{[]netip.Prefix{p("0.0.0.0/0")}, 0, "10.213.0.0/30"},
		{[]netip.Prefix{p("10.213.0.0/30")}, 0, "10.213.0.4/30"},
		{[]netip.Prefix{p("10.213.0.0/24")}, 0, "10.213.1.0/30"},
		{[]netip.Prefix{p("10.213.0.13/32")}, 3, "10.213.0.16/30"},
		{nil, 16383, "10.213.255.252/30"},
		{nil, 16384, "10.213.0.0/30"},
		{[]netip.Prefix{p("10.213.128.0/17")}, 16383, "10.213.0.0/30"},
	} {
		if got, err := choose(test.used, test.n); err != nil || got.String() != test.want {
			t.Errorf("%v, %d: %v, %v; want %s", test.used, test.n, got, err, test.want)
		}
	}
	if got, err := choose([]netip.Prefix{p("10.0.0.0/8")}, 0); err == nil {
		t.Errorf("%v out of a pool that is in use", got)
	}
}

const routeTable = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
	"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
	"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"

func TestRoutes(t *testing.T) {
	got, err := parseRoutes(strings.NewReader(routeTable))
	if err != nil || len(got) != 2 || got[0].String() != "0.0.0.0/0" || got[1].String() != "192.0.2.0/24" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"x\ny\n", "x\n1 2 3 4 5 6 7 8g\n", "x\na 100000000 0 0 0 0 0 0\n"} {
		if got, err := parseRoutes(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzRoutes(f *testing.F) {
	f.Add(routeTable)
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseRoutes(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, p := range all {
			if !p.IsValid() || p != p.Masked() {
				t.Errorf("%v", p)
			}
		}
		if p, err := choose(all, len(s)); err == nil && !pool.Overlaps(p) {
			t.Errorf("%v is not of the pool", p)
		}
	})
}
