package virtiommio_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"

	"govmm/devices"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// sink is a device that uses every chain at once. Its second queue is never
// looked at.
type sink struct{ session chan *virtio.Session }

func (sink) Type() virtio.DeviceType { return virtio.TypeEntropy }
func (sink) Features() uint64        { return 1<<3 | 1<<51 }
func (sink) QueueSizes() []uint16    { return []uint16{8, 4} }
func (sink) ReadConfig(off uint64, p []byte) {
	virtio.ReadConfig([]byte("configuration"), off, p)
}

func (s sink) Run(ctx context.Context, session *virtio.Session) error {
	if s.session != nil {
		s.session <- session
	}
	for {
		c, err := session.Queues[0].Next(ctx)
		if err != nil {
			return err
		}
		session.Queues[0].Push(c, 0)
	}
}

func newTransport(t testing.TB, device virtio.Device, irq devices.IRQ, log *slog.Logger) (*virtiommio.Transport, *virtiotest.Memory) {
	t.Helper()
	mem := virtiotest.NewMemory(0, 1<<16)
	transport, err := virtiommio.New(virtiommio.Config{Device: device, Memory: mem, IRQ: irq, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return transport, mem
}

func newDriver(t testing.TB, device virtio.Device) *virtiotest.MMIODriver {
	irq := virtiotest.NewIRQ()
	transport, mem := newTransport(t, device, irq, nil)
	return virtiotest.NewDriver(t, transport, mem, irq)
}

func TestConformance(t *testing.T) {
	virtiotest.TestDevice(t, func(testing.TB) virtio.Device { return sink{} }, virtiotest.Options{
		Request: func(mem *virtiotest.Memory, queue int) []virtiotest.Buf {
			if queue != 0 {
				return nil
			}
			return []virtiotest.Buf{{Addr: mem.Alloc(1, 1), Len: 1}}
		},
	})
}

func TestDoorbells(t *testing.T) {
	irq := virtiotest.NewIRQ()
	transport, mem := newTransport(t, sink{}, irq, nil)
	bells := transport.Doorbells()
	if len(bells) != 2 {
		t.Fatalf("%d doorbells", len(bells))
	}
	for i, b := range bells {
		if b.Offset != 0x50 || b.Size != 4 || b.Value != uint64(i) || b.Queue != i || b.Event == nil {
			t.Errorf("doorbell %d is %+v", i, b)
		}
	}
	// The event does what a write to the register does.
	driver := virtiotest.NewDriver(t, transport, mem, irq)
	driver.Start(0, 8)
	driver.Rings[0].Add(virtiotest.Buf{Addr: mem.Alloc(1, 1), Len: 1})
	if err := bells[0].Event.Signal(); err != nil {
		t.Fatal(err)
	}
	driver.Await(0)
	if err := transport.Close(); err != nil {
		t.Fatal(err)
	}
	if err := bells[0].Event.Signal(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Signal after Close: %v", err)
	}
	if err := transport.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// TestWidths accesses all registers in all widths and alignments: only
// aligned 32-bit accesses count.
func TestWidths(t *testing.T) {
	driver := newDriver(t, sink{})
	driver.Negotiate(virtio.FeatureVersion1)
	transport := driver.Handler()
	before := driver.Status()
	for _, n := range []int{1, 2, 4, 8} {
		for off := uint64(0); off+uint64(n) <= virtiotest.RegConfig; off++ {
			if n == 4 && off%4 == 0 {
				continue
			}
			transport.Write(off, make([]byte, n)) // the reset of one that counts would show
			p := bytes.Repeat([]byte{0xa5}, n)
			transport.Read(off, p)
			if !bytes.Equal(p, make([]byte, n)) {
				t.Errorf("read of %d bytes at %#x: %x", n, off, p)
			}
		}
	}
	if s := driver.Status(); s != before {
		t.Errorf("status %#x, before %#x", s, before)
	}
	driver.Write32(virtiotest.RegMagic, 1)
	driver.Write32(virtiotest.RegConfigGeneration, 1)
	if driver.Read32(virtiotest.RegMagic) != 0x74726976 || driver.Read32(virtiotest.RegConfigGeneration) != 0 {
		t.Error("a read-only register was written")
	}
}

func TestFeaturePages(t *testing.T) {
	driver := newDriver(t, sink{})
	want := uint64(1<<3|1<<51) | virtio.FeatureVersion1 | virtio.FeatureEventIdx | virtio.FeatureIndirectDesc
	if got := driver.DeviceFeatures(); got != want {
		t.Errorf("features %#x, want %#x", got, want)
	}
	session := make(chan *virtio.Session, 1)
	driver = newDriver(t, sink{session})
	driver.Start(1<<51|virtio.FeatureEventIdx, 8)
	if got := (<-session).Features; got != 1<<51|virtio.FeatureEventIdx|virtio.FeatureVersion1 {
		t.Errorf("session has features %#x", got)
	}
}

// TestFeaturesFrozen writes features after FEATURES_OK.
func TestFeaturesFrozen(t *testing.T) {
	session := make(chan *virtio.Session, 1)
	driver := newDriver(t, sink{session})
	driver.Negotiate(virtio.FeatureVersion1)
	driver.WriteFeatures(driver.DeviceFeatures())
	driver.AddStatus(virtio.StatusDriverOK)
	if got := (<-session).Features; got != virtio.FeatureVersion1 {
		t.Errorf("session has features %#x", got)
	}
}

// TestInterruptCauses raises a second cause between the driver's reading of
// InterruptStatus and its acknowledgement: the edge must come again, or a
// driver on an edge-triggered line never hears of it.
func TestInterruptCauses(t *testing.T) {
	sessions := make(chan *virtio.Session, 1)
	driver := newDriver(t, sink{sessions})
	driver.Start(0, 8)
	session := <-sessions
	driver.Rings[0].Add(virtiotest.Buf{Addr: driver.Mem.Alloc(1, 1), Len: 1})
	driver.Kick(0)
	for driver.IRQ.Count() == 0 {
		runtime.Gosched()
	}
	seen := driver.Read32(virtiotest.RegInterruptStatus)
	session.ConfigChanged()
	if seen != 1 || driver.Read32(virtiotest.RegInterruptStatus) != 3 || driver.IRQ.Count() != 2 {
		t.Fatalf("InterruptStatus was %#x, is %#x; %d edges", seen, driver.Read32(virtiotest.RegInterruptStatus), driver.IRQ.Count())
	}
	driver.Write32(virtiotest.RegInterruptACK, seen)
	if driver.Read32(virtiotest.RegInterruptStatus) != 2 || driver.IRQ.Count() != 3 {
		t.Errorf("after the acknowledgement InterruptStatus is %#x, and there were %d edges", driver.Read32(virtiotest.RegInterruptStatus), driver.IRQ.Count())
	}
	driver.Write32(virtiotest.RegInterruptACK, ^uint32(0))
	if driver.Read32(virtiotest.RegInterruptStatus) != 0 || driver.IRQ.Count() != 3 {
		t.Errorf("InterruptStatus is %#x; %d edges", driver.Read32(virtiotest.RegInterruptStatus), driver.IRQ.Count())
	}
}

// brokenIRQ fails.
type brokenIRQ struct{}

func (brokenIRQ) Trigger() error { return errors.New("no such line") }

func TestInterruptFailureIsLoggedOnce(t *testing.T) {
	var out strings.Builder
	sessions := make(chan *virtio.Session, 1)
	transport, mem := newTransport(t, sink{sessions}, brokenIRQ{}, slog.New(slog.NewTextHandler(&out, nil)))
	driver := virtiotest.NewDriver(t, transport, mem, nil)
	driver.Start(0, 8)
	session := <-sessions
	for range 5 {
		session.ConfigChanged()
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "no such line") {
		t.Errorf("log: %s", out.String())
	}
}

func TestConfigSpace(t *testing.T) {
	driver := newDriver(t, sink{})
	if got := string(driver.ReadConfig(0, 16)); got != "configuration\x00\x00\x00" {
		t.Errorf("configuration space %q", got)
	}
}

func TestRegistersDoNotAllocate(t *testing.T) {
	driver := newDriver(t, sink{})
	driver.Start(0, 8)
	h := driver.Handler()
	p := make([]byte, 4)
	for _, off := range []uint64{virtiotest.RegInterruptStatus, virtiotest.RegStatus, virtiotest.RegConfig, virtiotest.RegQueueReady} {
		if n := testing.AllocsPerRun(100, func() { h.Read(off, p) }); n != 0 {
			t.Errorf("read of %#x allocates %v times", off, n)
		}
	}
	clear(p)
	for _, off := range []uint64{virtiotest.RegQueueNotify, virtiotest.RegInterruptACK, virtiotest.RegQueueSel, virtiotest.RegConfig} {
		if n := testing.AllocsPerRun(100, func() { h.Write(off, p) }); n != 0 {
			t.Errorf("write of %#x allocates %v times", off, n)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	mem := virtiotest.NewMemory(0, 1)
	for name, cfg := range map[string]virtiommio.Config{
		"nothing":   {},
		"no IRQ":    {Device: sink{}, Memory: mem},
		"no memory": {Device: sink{}, IRQ: virtiotest.NewIRQ()},
		"no device": {Memory: mem, IRQ: virtiotest.NewIRQ()},
	} {
		if _, err := virtiommio.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzRegisters makes accesses as the input says. Each takes 8 bytes: offset
// (2), kind and width (1), value (4), and one that is not used, so that a
// corpus can be read by people.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0x70, 0, 0x82, 1, 0, 0, 0, 0})
	mem := virtiotest.NewRacyMemory(f, 0, 1<<16)
	f.Fuzz(func(t *testing.T, input []byte) {
		mem.Reset()
		transport, err := virtiommio.New(virtiommio.Config{Device: sink{}, Memory: mem, IRQ: virtiotest.NewIRQ()})
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Close()
		for ; len(input) >= 8; input = input[8:] {
			n := 1 << (input[2] % 4)
			off := (uint64(input[0]) | uint64(input[1])<<8) % (virtiommio.RegionSize - uint64(n) + 1)
			p := make([]byte, n)
			if input[2]&0x80 == 0 {
				transport.Read(off, p)
				continue
			}
			copy(p, input[3:7])
			transport.Write(off, p)
		}
		// Whatever came before, a reset makes it work.
		driver := virtiotest.NewDriver(t, transport, mem, virtiotest.NewIRQ())
		mem.Reset()
		driver.Start(0, 8)
	})
}
