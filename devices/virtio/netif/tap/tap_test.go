package tap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif"
	"govmm/devices/virtio/netif/tap/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// create makes a tap that is up and takes all offloads.
func create(t testing.TB, cfg Config) *Tap {
	t.Helper()
	tap, err := Create("test%d", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	nettest.Up(t, tap.Name())
	if err := tap.Start(tap.Info().Receive); err != nil {
		t.Fatal(err)
	}
	return tap
}

// withHeader returns the frame with a header of zeroes, in segments of at most n bytes.
func withHeader(frame []byte, n int) (segments [][]byte) {
	all := append(make([]byte, netif.HeaderSize), frame...)
	for len(all) > 0 {
		k := min(n, len(all))
		segments = append(segments, all[:k])
		all = all[k:]
	}
	return segments
}

// receive returns the next frame of the tests' type and its header.
func receive(t testing.TB, p netif.Pair) (frame, header []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
	for {
		n, err := p.Receive([][]byte{buffer[:7], buffer[7:100], buffer[100:]})
		switch {
		case errors.Is(err, netif.ErrNoFrame):
			if err := p.Wait(ctx); err != nil {
				t.Fatalf("no frame came: %v", err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			if f := buffer[netif.HeaderSize:n]; binary.BigEndian.Uint16(f[12:]) == nettest.EtherType {
				return f, buffer[:netif.HeaderSize]
			}
		}
	}
}

func TestFrames(t *testing.T) {
	tap := create(t, Config{})
	host := nettest.NewHost(t, tap.Name())
	for i, n := range []int{60, 61, 1514} {
		for _, seg := range []int{2000, 100, 12, 2} {
			want := nettest.Frame(byte(i), n)
			if err := tap.Pair(0).Send(withHeader(want, seg)); err != nil {
				t.Fatal(err)
			}
			if got := host.Receive(); !bytes.Equal(got, want) {
				t.Errorf("host: %x", got)
			}
		}
		want := nettest.Frame(byte(i), n)
		host.Send(want)
		if got, _ := receive(t, tap.Pair(0)); !bytes.Equal(got, want) {
			t.Errorf("guest: %x", got)
		}
	}
}

// TestFrameWithoutRoom holds that a frame is dropped and not cut.
func TestFrameWithoutRoom(t *testing.T) {
	tap := create(t, Config{})
	host := nettest.NewHost(t, tap.Name())
	host.Send(nettest.Frame(1, 1000))
	host.Send(nettest.Frame(2, 100))
	buffer := make([]byte, netif.HeaderSize+999)
	for {
		n, err := tap.Pair(0).Receive([][]byte{buffer[:500], buffer[500:]})
		if errors.Is(err, netif.ErrNoFrame) {
			if err := tap.Pair(0).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		f := buffer[netif.HeaderSize:n]
		if binary.BigEndian.Uint16(f[12:]) != nettest.EtherType {
			continue
		}
		if !bytes.Equal(f, nettest.Frame(2, 100)) {
			t.Errorf("%d bytes: %x", n, f)
		}
		break
	}
	// With a byte more it has room.
	host.Send(nettest.Frame(1, 1000))
	if f, _ := receive(t, tap.Pair(0)); len(f) != 1000 {
		t.Errorf("%d bytes", len(f))
	}
}

// TestHostileFrames sends headers and frames that the kernel refuses: nothing may fail.
func TestHostileFrames(t *testing.T) {
	var log strings.Builder
	tap := create(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	host := nettest.NewHost(t, tap.Name())
	bad := func(f func([]byte)) []byte {
		p := withHeader(nettest.Frame(1, 100), 1000)[0]
		f(p)
		return p
	}
	for name, p := range map[string][]byte{
		"unknown segment type":  bad(func(p []byte) { p[1] = 0x7f }),
		"segments of 0":         bad(func(p []byte) { p[0], p[1] = 1, 1 }),
		"checksum beyond frame": bad(func(p []byte) { p[0], p[6], p[7], p[8] = 1, 0xff, 0xff, 0xff }),
		"header beyond frame":   bad(func(p []byte) { p[1], p[2], p[3], p[4] = 1, 0xff, 0xff, 1 }),
		"short":                 make([]byte, 25),
		"header only":           make([]byte, 12),
		"half a header":         make([]byte, 6),
		"too long":              make([]byte, 70000),
	} {
		if err := tap.Pair(0).Send([][]byte{p}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := nettest.Frame(9, 80)
	tap.Pair(0).Send(withHeader(want, 1000))
	for {
		got := host.Receive()
		if bytes.Equal(got, want) {
			break
		}
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "makes no sense") {
		t.Errorf("log %q", log.String())
	}
}

func TestInterfaceIsDown(t *testing.T) {
	var log strings.Builder
	tap := create(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	nettest.Down(t, tap.Name())
	for range 3 {
		if err := tap.Pair(0).Send(withHeader(nettest.Frame(1, 60), 100)); err != nil {
			t.Error(err)
		}
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "ip link set "+tap.Name()+" up") {
		t.Errorf("log %q", log.String())
	}
	nettest.Up(t, tap.Name())
	host := nettest.NewHost(t, tap.Name())
	tap.Pair(0).Send(withHeader(nettest.Frame(2, 60), 100))
	host.Receive()
}

func TestWaitEndsWithContext(t *testing.T) {
	tap := create(t, Config{})
	// What the host's own protocols send comes first.
	wait := func(ctx context.Context) error {
		for {
			buffer := make([]byte, 2000)
			if _, err := tap.Pair(0).Receive([][]byte{buffer}); !errors.Is(err, netif.ErrNoFrame) {
				continue
			}
			if err := tap.Pair(0).Wait(ctx); err != nil {
				return err
			}
		}
	}
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			time.AfterFunc(time.Millisecond, cancel)
		} else {
			cancel()
		}
		if err := wait(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Wait: %v", err)
		}
	}
	// After all those a frame wakes it as ever.
	nettest.NewHost(t, tap.Name()).Send(nettest.Frame(3, 60))
	receive(t, tap.Pair(0))
	time.AfterFunc(time.Millisecond, func() { tap.Close() })
	if err := wait(t.Context()); !errors.Is(err, os.ErrClosed) && !errors.Is(err, unix.EBADF) {
		t.Errorf("after Close: %v", err)
	}
	if err := tap.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// segments4 is a TCP segment over IPv4 with n bytes of data, which the header asks to be cut into segments of 1000.
func segments4(n int) [][]byte {
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, tcp
	binary.BigEndian.PutUint16(ip[2:], uint16(40+n))
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip))
	const gsoTCPv4 = 1
	return segments(0x0800, ip, ip[12:20], gsoTCPv4, n)
}

// segments6 is the same over IPv6.
func segments6(n int) [][]byte {
	ip := make([]byte, 40)
	ip[0], ip[6], ip[7] = 0x60, tcp, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(20+n))
	ip[8], ip[23], ip[24], ip[39] = 0xfd, 1, 0xfd, 2
	const gsoTCPv6 = 4
	return segments(0x86dd, ip, ip[8:40], gsoTCPv6, n)
}

const tcp = 6 // the protocol's number

// segments is a TCP segment behind a header of IP, whose addresses are given again.
func segments(ethertype uint16, ip, addresses []byte, gso byte, n int) [][]byte {
	segment := make([]byte, 20+n)
	segment[12], segment[13] = 5<<4, 0x10
	// The checksum of the pseudo-header, which the one that fills it in begins with.
	binary.BigEndian.PutUint16(segment[16:], sum(tcp+uint32(20+n), addresses))
	h := make([]byte, netif.HeaderSize)
	le := binary.LittleEndian
	h[0], h[1] = 1, gso // VIRTIO_NET_HDR_F_NEEDS_CSUM
	le.PutUint16(h[2:], uint16(14+len(ip)+20))
	le.PutUint16(h[4:], 1000)
	le.PutUint16(h[6:], uint16(14+len(ip)))
	le.PutUint16(h[8:], 16)
	ethernet := binary.BigEndian.AppendUint16([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, ethertype)
	return [][]byte{h, ethernet, ip, segment}
}

// sum adds to s what a checksum of the Internet adds (RFC 1071).
func sum(s uint32, p []byte) uint16 {
	for i := 0; i < len(p); i += 2 {
		s += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	return uint16(s + s>>16)
}

// isTCP reports whether a frame has a TCP segment over IPv4 or IPv6.
func isTCP(f []byte) bool {
	switch binary.BigEndian.Uint16(f[12:]) {
	case 0x0800:
		return f[23] == tcp
	case 0x86dd:
		return f[20] == tcp
	}
	return false
}

// TestOffloads has two taps on a bridge. The second gets the first's large segment whole if it takes such segments, and otherwise cut and
// with checksums.
func TestOffloads(t *testing.T) {
	a, b := create(t, Config{}), create(t, Config{})
	nettest.Bridge(t, "bridge0", a.Name(), b.Name())
	for _, ip := range []struct {
		name     string
		segments func(n int) [][]byte
		headers  int
		whole    netif.Offloads
	}{
		{"IPv4", segments4, 54, netif.TSO4},
		{"IPv6", segments6, 74, netif.TSO6},
	} {
		t.Run(ip.name, func(t *testing.T) {
			cut := slices.Repeat([]int{ip.headers + 1000}, 5)
			for _, test := range []struct {
				take  netif.Offloads
				sizes []int
				flags byte
			}{
				{netif.Checksum | netif.TSO4 | netif.TSO6, []int{ip.headers + 5000}, 1},
				{netif.Checksum | ip.whole, []int{ip.headers + 5000}, 1},
				{netif.Checksum | (netif.TSO4|netif.TSO6)&^ip.whole, cut, 1},
				{netif.Checksum, cut, 1},
				{0, cut, 0},
			} {
				if err := b.Start(test.take); err != nil {
					t.Fatal(err)
				}
				if err := a.Pair(0).Send(ip.segments(5000)); err != nil {
					t.Fatal(err)
				}
				if got := receiveTCP(t, b.Pair(0), len(test.sizes), test.flags); !slices.Equal(got, test.sizes) {
					t.Errorf("offloads %#x: frames of %v, want %v", test.take, got, test.sizes)
				}
			}
		})
	}
}

// receiveTCP takes n frames of TCP, and returns their sizes.
func receiveTCP(t *testing.T, p netif.Pair, n int, flags byte) (sizes []int) {
	t.Helper()
	buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
	for len(sizes) < n {
		n, err := p.Receive([][]byte{buffer})
		if errors.Is(err, netif.ErrNoFrame) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err = p.Wait(ctx)
			cancel()
			if err != nil {
				t.Fatalf("frames of %v, then %v", sizes, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !isTCP(buffer[netif.HeaderSize:n]) {
			continue // the host's own
		}
		sizes = append(sizes, n-netif.HeaderSize)
		if buffer[0]&1 != flags {
			t.Errorf("flags %d", buffer[0])
		}
	}
	return sizes
}

func TestPairs(t *testing.T) {
	tap := create(t, Config{Pairs: 3})
	host := nettest.NewHost(t, tap.Name())
	if n := tap.Info().Pairs; n != 3 {
		t.Fatalf("%d pairs", n)
	}
	for _, n := range []int{3, 1, 2, 3, 1} {
		if err := tap.UsePairs(n); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			want := nettest.Frame(byte(i), 100)
			if err := tap.Pair(i).Send(withHeader(want, 1000)); err != nil {
				t.Fatal(err)
			}
			if got := host.Receive(); !bytes.Equal(got, want) {
				t.Errorf("pair %d of %d: %x", i, n, got)
			}
		}
		if n == 1 {
			// All that comes, comes by the first.
			for i := range 20 {
				f := nettest.Frame(byte(i), 100)
				f[6+5] = byte(i)
				host.Send(f)
				if got, _ := receive(t, tap.Pair(0)); !bytes.Equal(got, f) {
					t.Errorf("%x", got)
				}
			}
		}
	}
}

func TestDoesNotAllocate(t *testing.T) {
	a, b := create(t, Config{}), create(t, Config{})
	nettest.Bridge(t, "bridge0", a.Name(), b.Name())
	frame := withHeader(nettest.Frame(1, 1500), 400)
	p := make([]byte, 4000)
	buffer := [][]byte{p[:500], p[500:1000], p[1000:]}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(200, func() {
		if err := a.Pair(0).Send(frame); err != nil {
			t.Fatal(err)
		}
		for {
			_, err := b.Pair(0).Receive(buffer)
			if err == nil {
				return
			}
			if err := b.Pair(0).Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("a frame allocates %v times", n)
	}
}
