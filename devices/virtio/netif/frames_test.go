package netif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"govmm/devices/virtio"
)

const ringFeatures = virtio.FeatureEventIdx | virtio.FeatureIndirectDesc

func TestTransmit(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, ^uint64(0), 64)
	for _, seg := range []int{1 << 20, 700, 12, 5} {
		want := frame(byte(seg), 300)
		g.send(0, want, seg)
		if got := <-g.wire.ports[0].sent; !bytes.Equal(got, want) {
			t.Errorf("segments of %d: %x", seg, got)
		}
	}
}

// TestTransmitBounds sends what cannot be a frame, and then one that can.
func TestTransmitBounds(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, ^uint64(0), 64)
	for n, want := range map[int]bool{
		0: false, 1: false, 11: false, 12: false, 25: false, 26: true, 65565: true, 65566: false, 70000: false,
	} {
		p := make([]byte, n)
		if n == 0 {
			g.Rings[1].Add(cut(g.Mem.Base(), 1, 1, true)...) // nothing to read, but something to write
			g.Kick(1)
			g.Await(1)
		} else {
			g.send(0, p, 1<<14)
		}
		select {
		case got := <-g.wire.ports[0].sent:
			if !want || len(got) != n {
				t.Errorf("%d bytes: %d bytes were sent", n, len(got))
			}
		default:
			if want {
				t.Errorf("%d bytes: not sent", n)
			}
		}
	}
}

// TestTransmitInterrupts holds that frames which are sent together cost one interrupt.
func TestTransmitInterrupts(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, 0, 64)
	if err := g.transport.Pause(); err != nil {
		t.Fatal(err)
	}
	addr := g.Mem.Alloc(100, 4)
	before := g.IRQ.Count()
	for range 20 {
		g.Rings[1].Add(cut(addr, 100, 100, false)...)
	}
	g.Notify(1)
	if err := g.transport.Resume(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		g.Await(1)
	}
	if n := g.IRQ.Count() - before; n != 1 {
		t.Errorf("%d interrupts for 20 frames", n)
	}
}

func TestTransmitHostFails(t *testing.T) {
	var log strings.Builder
	g := newGuest(t, newWire(everything), Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, 0, 64)
	g.Rings[0] = nil
	g.wire.ports[0].mu.Lock()
	g.wire.ports[0].failed = errors.New("no such network")
	g.wire.ports[0].mu.Unlock()
	for range 3 {
		g.send(0, frame(0, 60), 100)
	}
	g.Reset()
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "no such network") {
		t.Errorf("log %q", log.String())
	}
}

// receiveFeatures are the ways to receive.
var receiveFeatures = map[string]uint64{
	"one buffer":           0,
	"one buffer, indirect": ringFeatures,
	"merged":               featureMergeable,
	"merged, large":        featureMergeable | featureGuestChecksum | featureGuestTSO4 | ringFeatures,
}

func TestReceive(t *testing.T) {
	for name, features := range receiveFeatures {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, newWire(everything), Config{}, features, 256)
			var sizes []int
			for range 60 {
				sizes = append(sizes, 1530)
			}
			buffers := g.supply(0, 1000, sizes...)
			for i, n := range []int{60, 14, 1514, 1518, 60, 1000} {
				want := frame(byte(i), n)
				g.wire.ports[0].give(want)
				if got, k := g.receive(0, buffers); !sameFrame(got, want) || k != 1 {
					t.Errorf("frame %d of %d bytes in %d buffers: %x", i, n, k, got)
				}
			}
			if features&featureGuestTSO4 == 0 {
				return
			}
			for i, n := range []int{1519, 3000, 30000, 60} {
				want := frame(byte(i), n)
				g.wire.ports[0].give(want)
				if got, k := g.receive(0, buffers); !sameFrame(got, want) || k != (n+HeaderSize+1529)/1530 {
					t.Errorf("frame %d of %d bytes in %d buffers", i, n, k)
				}
			}
		})
	}
}

// TestReceiveManyFrames goes around the ring and the receiver's lists several times.
func TestReceiveManyFrames(t *testing.T) {
	for name, features := range receiveFeatures {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, newWire(everything), Config{QueueSize: 64}, features, 64)
			buffers := g.supply(0, 600, 1530, 1530, 1530, 1530, 1530, 1530, 1530, 1530, 1530, 1530)
			for i := range 1000 {
				want := frame(byte(i), 14+i%1500)
				g.wire.ports[0].give(want)
				u := g.Await(0)
				b := buffers[u.ID]
				if got := b.bytes()[:u.Len]; !sameFrame(got, want) {
					t.Fatalf("frame %d: %x, want %x", i, got, want)
				}
				delete(buffers, u.ID)
				buffers[uint32(g.Rings[0].Add(cut(b.addr, b.size, 600, true)...))] = b
				g.Kick(0)
			}
		})
	}
}

// TestReceiveInterrupts holds that all buffers of a frame cost one interrupt.
func TestReceiveInterrupts(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, featureMergeable|featureGuestChecksum|featureGuestTSO4, 128)
	var sizes []int
	for range 100 {
		sizes = append(sizes, 1000)
	}
	buffers := g.supply(0, 1000, sizes...)
	before := g.IRQ.Count()
	g.wire.ports[0].give(frame(1, 20000))
	if _, n := g.receive(0, buffers); n != 21 || g.IRQ.Count()-before != 1 {
		t.Errorf("%d interrupts for %d buffers", g.IRQ.Count()-before, n)
	}
}

// TestReceiveTooLarge drops a frame that fits into no buffer, and goes on.
func TestReceiveTooLarge(t *testing.T) {
	for _, features := range []uint64{0, featureMergeable} {
		g := newGuest(t, newWire(everything), Config{QueueSize: 16}, features, 16)
		var sizes []int
		for range 16 {
			sizes = append(sizes, 90)
		}
		buffers := g.supply(0, 90, sizes...)
		g.wire.ports[0].give(frame(1, 1514))
		want := frame(2, 60)
		g.wire.ports[0].give(want)
		if got, n := g.receive(0, buffers); !sameFrame(got, want) || n != 1 {
			t.Errorf("features %#x: %x in %d buffers", features, got, n)
		}
		g.nothing(0)
	}
}

// TestReceiveWaitsForRoom has a driver with too little room for the largest frame: small ones come at once, and a
// large one when there is room for it.
func TestReceiveWaitsForRoom(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, featureMergeable|featureGuestChecksum|featureGuestTSO6, 64)
	buffers := g.supply(0, 1000, 1000, 1000, 1000)
	small, large := frame(1, 60), frame(2, 5000)
	g.wire.ports[0].give(small)
	if got, n := g.receive(0, buffers); !sameFrame(got, small) || n != 1 {
		t.Errorf("small frame in %d buffers: %x", n, got)
	}
	g.wire.ports[0].give(large)
	g.wire.ports[0].give(small)
	for range 4 {
		g.nothing(0)
		for id, b := range g.supply(0, 400, 1000) {
			buffers[id] = b
		}
	}
	if got, n := g.receive(0, buffers); !sameFrame(got, large) || n != 6 {
		t.Errorf("large frame in %d buffers: %d bytes", n, len(got))
	}
	for id, b := range g.supply(0, 400, 1000) {
		buffers[id] = b
	}
	if got, _ := g.receive(0, buffers); !sameFrame(got, small) {
		t.Errorf("frame after the large one: %x", got)
	}
}

func TestReceiveBufferWithoutRoomForHeader(t *testing.T) {
	for _, features := range []uint64{0, featureMergeable} {
		g := newGuest(t, newWire(everything), Config{}, features, 16)
		g.supply(0, 100, 100, 11)
		g.wire.ports[0].give(frame(0, 60))
		g.wire.ports[0].give(frame(0, 60))
		g.AwaitNeedsReset()
	}
}

// TestFlagsNeedTheFeature: a driver that has not negotiated VIRTIO_NET_F_GUEST_CSUM sees no flags (5.1.6.4.1).
func TestFlagsNeedTheFeature(t *testing.T) {
	for features, want := range map[uint64]byte{0: 0, featureGuestChecksum: 2} {
		g := newGuest(t, newWire(everything), Config{}, features, 16)
		buffers := g.supply(0, 2000, 2000)
		f := frame(0, 60)
		f[headerFlags] = 2 // VIRTIO_NET_HDR_F_DATA_VALID
		g.wire.ports[0].give(f)
		if got, _ := g.receive(0, buffers); got[headerFlags] != want {
			t.Errorf("features %#x: flags %d", features, got[headerFlags])
		}
	}
}

// TestReceiveHostFails holds that a network that is gone leaves one line in the log, and a device that can be reset.
func TestReceiveHostFails(t *testing.T) {
	var log strings.Builder
	g := newGuest(t, newWire(everything), Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, 0, 16)
	g.supply(0, 2000, 2000)
	g.wire.ports[0].fail(errors.New("cable is cut"))
	g.wire.ports[0].await(func(p *port) bool { return p.fails > 0 })
	g.Reset()
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "cable is cut") || g.wire.ports[0].fails != 1 {
		t.Errorf("%d tries, log %q", g.wire.ports[0].fails, log.String())
	}
	if s := g.Status(); s != 0 {
		t.Errorf("status %#x", s)
	}
}

// TestPauseWithHeldBuffers pauses a device that holds buffers: none may be lost, and their order stays.
func TestPauseWithHeldBuffers(t *testing.T) {
	for name, features := range receiveFeatures {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, newWire(everything), Config{}, features, 256)
			var sizes []int
			for range 60 {
				sizes = append(sizes, 1530)
			}
			buffers := g.supply(0, 800, sizes...)
			for i := range 50 {
				want := frame(byte(i), 14+20*i)
				if i%3 == 0 {
					if err := g.transport.Pause(); err != nil {
						t.Fatal(err)
					}
				}
				g.wire.ports[0].give(want)
				if i%3 == 0 {
					g.nothing(0)
					if err := g.transport.Resume(); err != nil {
						t.Fatal(err)
					}
				}
				if got, n := g.receive(0, buffers); !sameFrame(got, want) || n != 1 {
					t.Fatalf("frame %d in %d buffers: %x", i, n, got)
				}
			}
		})
	}
}

func TestLink(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, 0, 64)
	buffers := g.supply(0, 2000, 2000, 2000)
	status := func() uint16 { return binary.LittleEndian.Uint16(g.ReadConfig(configStatus, 2)) }
	g.send(0, frame(0, 60), 100) // the device runs
	<-g.wire.ports[0].sent
	generation := g.Read32(0xfc)
	irqs := g.IRQ.Count()
	g.device.SetLink(true) // it is
	if g.IRQ.Count() != irqs || status() != 1 {
		t.Error("a link that was up came up")
	}
	g.device.SetLink(false)
	if g.IRQ.Count() == irqs || g.Read32(0xfc) == generation || status() != 0 || g.device.Link() {
		t.Error("the driver was not told that the link is down")
	}
	g.send(0, frame(0, 60), 100)
	g.wire.ports[0].give(frame(1, 60))
	g.wire.ports[0].await(func(p *port) bool { return len(p.queue) == 0 })
	// The change while the device is paused is told when it goes on.
	if err := g.transport.Pause(); err != nil {
		t.Fatal(err)
	}
	g.nothing(0)
	irqs = g.IRQ.Count()
	g.device.SetLink(true)
	if g.IRQ.Count() != irqs {
		t.Error("an interrupt for a machine that is paused")
	}
	if err := g.transport.Resume(); err != nil {
		t.Fatal(err)
	}
	want := frame(2, 60)
	g.wire.ports[0].give(want)
	if got, _ := g.receive(0, buffers); !sameFrame(got, want) {
		t.Errorf("received %x", got)
	}
	if status() != 1 || g.IRQ.Count() < irqs+2 {
		t.Error("the driver was not told that the link is up")
	}
	if len(g.wire.ports[0].sent) != 0 {
		t.Error("a frame was sent while the link was down")
	}
}
