package tap

import (
	"bytes"
	"encoding/binary"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/netif"
	"govmm/devices/virtio/netif/tap/nettest"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// A guest is the driver of a network device on a tap.
type guest struct {
	*virtiotest.MMIODriver
	t         testing.TB
	transport *virtiommio.Transport
	buffers   map[uint32]uint64 // addresses by head
}

const bufferSize = 1530

// newGuest starts a driver that negotiates all features and supplies n buffers.
func newGuest(t testing.TB, tap *Tap, n int) *guest {
	t.Helper()
	device, err := netif.New(netif.Config{Backend: tap, MAC: netif.DeriveMAC(tap.Name(), 0)})
	if err != nil {
		t.Fatal(err)
	}
	mem, irq := virtiotest.NewMemory(0, 8<<20), virtiotest.NewIRQ()
	transport, err := virtiommio.New(virtiommio.Config{Device: device, Memory: mem, IRQ: irq})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	g := &guest{MMIODriver: virtiotest.NewDriver(t, transport, mem, irq), t: t, transport: transport, buffers: map[uint32]uint64{}}
	g.Start(^uint64(0), 256)
	for range n {
		g.give(mem.Alloc(bufferSize, 4))
	}
	return g
}

// give gives the device the receive buffer at addr.
func (g *guest) give(addr uint64) {
	g.buffers[uint32(g.Rings[0].Add(virtiotest.Buf{Addr: addr, Len: bufferSize, Write: true}))] = addr
	g.Kick(0)
}

// receive returns the next frame that want takes, with its header.
func (g *guest) receive(want func(frame []byte) bool) []byte {
	g.t.Helper()
	for {
		var frame []byte
		for left := 1; left > 0; left-- {
			u := g.Await(0)
			addr := g.buffers[u.ID]
			delete(g.buffers, u.ID)
			p := g.Mem.Bytes(addr, uint64(u.Len))
			if frame == nil {
				left = int(binary.LittleEndian.Uint16(p[10:]))
			}
			frame = append(frame, p...)
			g.give(addr)
		}
		if want(frame[netif.HeaderSize:]) {
			return frame
		}
	}
}

// send sends a frame with its header and awaits that it is sent.
func (g *guest) send(segments [][]byte, at uint64) {
	g.t.Helper()
	var bufs []virtiotest.Buf
	for _, s := range segments {
		copy(g.Mem.Bytes(at, uint64(len(s))), s)
		bufs = append(bufs, virtiotest.Buf{Addr: at, Len: uint32(len(s))})
		at += uint64(len(s)+3) &^ 3
	}
	g.Rings[1].Add(bufs...)
	g.Kick(1)
	g.Await(1)
}

func isTest(f []byte) bool { return binary.BigEndian.Uint16(f[12:]) == nettest.EtherType }

// TestDevices has two guests on a bridge, one of which is paused now and then.
func TestDevices(t *testing.T) {
	ta, tb := create(t, Config{}), create(t, Config{})
	nettest.Bridge(t, "bridge0", ta.Name(), tb.Name())
	a, b := newGuest(t, ta, 120), newGuest(t, tb, 120)
	at := a.Mem.Alloc(1<<17, 4)
	for i := range 100 {
		if i%10 == 0 {
			if err := b.transport.Pause(); err != nil {
				t.Fatal(err)
			}
		}
		want := nettest.Frame(byte(i), 60+i*14)
		a.send(withHeader(want, 500), at)
		if i%10 == 0 {
			if err := b.transport.Resume(); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.receive(isTest); !bytes.Equal(got[netif.HeaderSize:], want) {
			t.Fatalf("frame %d: %x", i, got)
		}
		// A large segment goes through whole, in several buffers.
		if got := len(sendLarge(a, b, at, 1000*(1+i%60))); got != netif.HeaderSize+54+1000*(1+i%60) {
			t.Fatalf("segment %d came as %d bytes", i, got)
		}
	}
	if a.Features&virtio.FeatureEventIdx == 0 {
		t.Error("event indices were not negotiated")
	}
}

func sendLarge(a, b *guest, at uint64, n int) []byte {
	a.send(segments4(n), at)
	return b.receive(isTCP)
}

// BenchmarkDevices is a frame from one guest to another over a bridge, one at a time, through doorbells, goroutines and interrupts.
func BenchmarkDevices(b *testing.B) {
	ta, tb := create(b, Config{}), create(b, Config{})
	nettest.Bridge(b, "bridge0", ta.Name(), tb.Name())
	from, to := newGuest(b, ta, 120), newGuest(b, tb, 120)
	at := from.Mem.Alloc(1<<17, 4)
	for name, n := range map[string]int{"1500": 1446, "60000": 60000} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				sendLarge(from, to, at, n)
			}
		})
	}
}

// BenchmarkPair is the same without devices: the system calls and the bridge.
func BenchmarkPair(b *testing.B) {
	ta, tb := create(b, Config{}), create(b, Config{})
	nettest.Bridge(b, "bridge0", ta.Name(), tb.Name())
	buffer := [][]byte{make([]byte, netif.HeaderSize+netif.MaxFrame)}
	for name, n := range map[string]int{"1500": 1446, "60000": 60000} {
		b.Run(name, func(b *testing.B) {
			frame := segments4(n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if err := ta.Pair(0).Send(frame); err != nil {
					b.Fatal(err)
				}
				for got := 0; got < n; {
					var err error
					if got, err = tb.Pair(0).Receive(buffer); err == netif.ErrNoFrame {
						err = tb.Pair(0).Wait(b.Context())
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
