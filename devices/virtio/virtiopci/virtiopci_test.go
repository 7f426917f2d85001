package virtiopci_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"govmm/devices"
	"govmm/devices/eventfd"
	"govmm/devices/pci"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiopci"
	"govmm/devices/virtio/virtiotest"
)

// scratch is a device with a configuration space that can be written, whose queues use every buffer at once.
type scratch struct {
	queues int
	config [8]byte
}

func (d *scratch) Type() virtio.DeviceType         { return 42 }
func (d *scratch) Features() uint64                { return 1 | 1<<50 }
func (d *scratch) QueueSizes() []uint16            { return slices.Repeat([]uint16{16}, d.queues) }
func (d *scratch) ReadConfig(off uint64, p []byte) { virtio.ReadConfig(d.config[:], off, p) }
func (d *scratch) WriteConfig(off uint64, p []byte) {
	if off < uint64(len(d.config)) {
		copy(d.config[off:], p)
	}
}

func (d *scratch) Run(ctx context.Context, s *virtio.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var queues sync.WaitGroup
	for _, q := range s.Queues {
		queues.Go(func() {
			for {
				c, err := q.Next(ctx)
				if err != nil {
					cancel(err) // the first
					return
				}
				q.Push(c, 0)
			}
		})
	}
	queues.Wait()
	return context.Cause(ctx)
}

func newDriver(t testing.TB, queues int) (*virtiotest.PCIDriver, *virtiotest.Vectors) {
	t.Helper()
	mem := virtiotest.NewMemory(0x10000, 1<<20)
	v := &virtiotest.Vectors{IRQ: virtiotest.NewIRQ()}
	transport, err := virtiopci.New(virtiopci.Config{Name: "scratch", Device: &scratch{queues: queues}, Memory: mem, Vectors: v.Make})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return virtiotest.NewPCIDriver(t, transport, mem, v), v
}

func TestConformance(t *testing.T) {
	virtiotest.TestDevice(t, func(testing.TB) virtio.Device { return &scratch{queues: 2} }, virtiotest.Options{
		Request: func(mem *virtiotest.Memory, _ int) []virtiotest.Buf {
			return []virtiotest.Buf{{Addr: mem.Alloc(1, 1), Len: 1}}
		},
	})
}

// TestVectorPerQueue holds that each queue interrupts by its own vector, and by none when it has none.
func TestVectorPerQueue(t *testing.T) {
	d, v := newDriver(t, 3)
	d.Start(0, 16)
	for i := range 3 {
		d.Rings[i].Add(virtiotest.Buf{Addr: d.Mem.Alloc(1, 1), Len: 1})
		d.Kick(i)
		d.Await(i)
	}
	for i, want := range []int64{0, 1, 1, 1} {
		if got := v.Count(i); got != want {
			t.Errorf("vector %d was sent %d times, want %d", i, got, want)
		}
	}
	// Two queues may share a vector.
	d.WriteCommon(virtiotest.CommonQueueSel, 2, 2)
	d.WriteCommon(virtiotest.CommonQueueVector, 2, 1)
	d.Rings[2].Add(virtiotest.Buf{Addr: d.Mem.Alloc(1, 1), Len: 1})
	d.Kick(2)
	d.Await(2)
	if got := v.Count(1); got != 2 {
		t.Errorf("the shared vector was sent %d times, want 2", got)
	}
}

func TestVectorsOutOfRange(t *testing.T) {
	d, _ := newDriver(t, 1)
	for _, field := range []uint64{virtiotest.CommonConfigVector, virtiotest.CommonQueueVector} {
		for v, want := range map[uint64]uint64{0: 0, 1: 1, 2: 0xffff, 0xfffe: 0xffff, 0xffff: 0xffff} {
			d.WriteCommon(field, 2, v)
			if got := d.ReadCommon(field, 2); got != want {
				t.Errorf("field %#x: vector %#x reads back as %#x, want %#x", field, v, got, want)
			}
		}
	}
	d.WriteCommon(virtiotest.CommonQueueVector, 2, 1)
	d.Reset()
	if got := d.ReadCommon(virtiotest.CommonQueueVector, 2); got != 0xffff {
		t.Errorf("vector %#x after a reset", got)
	}
}

// TestWithoutMSIX holds that a driver that polls sees causes in the ISR status, which reading clears.
func TestWithoutMSIX(t *testing.T) {
	d, v := newDriver(t, 1)
	disableMSIX(d)
	d.Start(0, 16)
	d.Rings[0].Add(virtiotest.Buf{Addr: d.Mem.Alloc(1, 1), Len: 1})
	d.Kick(0)
	var isr uint8
	for isr == 0 {
		isr = d.ReadISR()
	}
	if isr != 1 || d.ReadISR() != 0 || v.Count(1) != 0 {
		t.Errorf("ISR status %d, then not 0, or a message was sent", isr)
	}
}

// capability returns where the capability is, with the given byte at its offset 3, if kind is not 0.
func capability(d *virtiotest.PCIDriver, id, kind uint8) uint64 {
	var p [4]byte
	d.Config.Read(0x34, p[:1])
	for p[0] != 0 {
		at := uint64(p[0])
		d.Config.Read(at, p[:])
		if p[0] == id && (kind == 0 || p[3] == kind) {
			return at
		}
		p[0] = p[1]
	}
	return 0
}

func disableMSIX(d *virtiotest.PCIDriver) {
	d.Config.Write(capability(d, 0x11, 0)+2, []byte{0, 0})
}

// TestCommonRegisters reads and writes as no driver would.
func TestCommonRegisters(t *testing.T) {
	d, _ := newDriver(t, 2)
	// A queue that does not exist is all zero and takes nothing.
	d.WriteCommon(virtiotest.CommonQueueSel, 2, 2)
	for _, f := range []uint64{virtiotest.CommonQueueSize, virtiotest.CommonQueueVector, virtiotest.CommonQueueEnable, virtiotest.CommonQueueNotifyOff} {
		d.WriteCommon(f, 2, 1)
		if got := d.ReadCommon(f, 2); got != 0 {
			t.Errorf("field %#x of no queue is %#x", f, got)
		}
	}
	// 64 bits at once and by halves; other widths do nothing.
	d.WriteCommon(virtiotest.CommonQueueSel, 2, 1)
	d.WriteCommon(virtiotest.CommonQueueDesc, 8, 0x1_2345_6000)
	d.WriteCommon(virtiotest.CommonQueueDesc+4, 4, 7)
	d.WriteCommon(virtiotest.CommonQueueDesc, 2, 0xffff)
	d.WriteCommon(virtiotest.CommonQueueDesc+1, 1, 0xff)
	d.WriteCommon(virtiotest.CommonQueueDesc+2, 8, ^uint64(0))
	if got := d.ReadCommon(virtiotest.CommonQueueDesc, 8); got != 0x7_2345_6000 {
		t.Errorf("the descriptor table is at %#x", got)
	}
	d.WriteCommon(virtiotest.CommonNumQueues, 2, 9)
	d.WriteCommon(virtiotest.CommonDeviceFeature, 4, 9)
	if n := d.ReadCommon(virtiotest.CommonNumQueues, 2); n != 2 {
		t.Errorf("%d queues", n)
	}
	// queue_enable takes nothing but 1, and is not taken back.
	d.WriteCommon(virtiotest.CommonQueueEnable, 2, 2)
	if d.ReadCommon(virtiotest.CommonQueueEnable, 2) != 0 {
		t.Error("a queue is enabled by 2")
	}
	d.WriteCommon(virtiotest.CommonQueueEnable, 2, 1)
	d.WriteCommon(virtiotest.CommonQueueEnable, 2, 0)
	if d.ReadCommon(virtiotest.CommonQueueEnable, 2) != 1 {
		t.Error("a queue is not enabled by 1, or disabled by 0")
	}
	if d.ReadCommon(0x38, 8) != 0 {
		t.Error("there is something behind the structure")
	}
}

// TestConfigAccess reaches the BARs through the configuration space (4.1.4.9).
func TestConfigAccess(t *testing.T) {
	d, _ := newDriver(t, 1)
	at := capability(d, 9, 5)
	access := func(bar uint8, offset, length uint32) {
		d.Config.Write(at+4, []byte{bar})
		d.Config.Write(at+8, binary.LittleEndian.AppendUint32(nil, offset))
		d.Config.Write(at+12, binary.LittleEndian.AppendUint32(nil, length))
	}
	read := func() uint32 {
		p := make([]byte, 4)
		d.Config.Read(at+16, p)
		return binary.LittleEndian.Uint32(p)
	}
	access(0, 0x2004, 2) // the device's configuration
	d.Config.Write(at+16, []byte{0xcd, 0xab, 1, 1})
	if got := read(); got != 0xabcd {
		t.Errorf("read %#x", got)
	}
	if got := d.ReadConfig(0, 8); !bytes.Equal(got, []byte{0, 0, 0, 0, 0xcd, 0xab, 0, 0}) {
		t.Errorf("the configuration is % x", got)
	}
	for _, bad := range []struct {
		bar            uint8
		offset, length uint32
	}{{0, 0x2004, 3}, {0, 0x2004, 0}, {0, 0x2003, 2}, {0, 0x8000, 4}, {0, 0xfffffffc, 4}, {1, 0, 4}, {2, 4, 4}, {9, 0, 4}, {0, 0x2004, 8}} {
		access(bad.bar, bad.offset, bad.length)
		d.Config.Write(at+16, []byte{1, 1, 1, 1})
		if got := read(); got != 0 {
			t.Errorf("%+v reads %#x", bad, got)
		}
	}
}

// TestDoorbells holds that all doorbells, of both BARs, are watched where the BARs are.
func TestDoorbells(t *testing.T) {
	watched := make(map[string]*eventfd.Event)
	transport, err := virtiopci.New(virtiopci.Config{
		Name: "scratch", Device: &scratch{queues: 3}, Memory: virtiotest.NewMemory(0, 1), Vectors: (&virtiotest.Vectors{}).Make,
		WatchDoorbell: func(space pci.Space, addr uint64, e *eventfd.Event, on bool) error {
			key := fmt.Sprintf("%d %#x", space, addr)
			if on == (watched[key] != nil) {
				t.Errorf("%s is watched twice, or not", key)
			}
			if delete(watched, key); on {
				watched[key] = e
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	root, err := pci.NewRoot(pci.RootConfig{
		Memory: devices.NewBus("MMIO", 0), Ports: devices.NewBus("PIO", 1<<16),
		MemoryWindow: pci.Range{Base: 0xc0000000, Size: 1 << 20}, PortsWindow: pci.Range{Base: 0x1000, Size: 64},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Add(transport.Function()); err != nil {
		t.Fatal(err)
	}
	f := transport.Function()
	f.Write(4, []byte{3})
	f.Write(0x10, []byte{0, 0, 0, 0x80})
	for i := range 3 {
		port, memory := watched[fmt.Sprintf("1 %#x", 0x1000+4*i)], watched[fmt.Sprintf("0 %#x", 0x80003000+4*i)]
		if port == nil || port != memory {
			t.Errorf("queue %d: events %p and %p", i, port, memory)
		}
	}
	f.Write(4, []byte{0})
	if len(watched) != 0 {
		t.Errorf("still watched: %v", watched)
	}
}

// TestManyQueues holds that a device with more queues than a BAR has ports works by memory.
func TestManyQueues(t *testing.T) {
	d, _ := newDriver(t, 65)
	d.Start(0, 16)
	d.Rings[64].Add(virtiotest.Buf{Addr: d.Mem.Alloc(1, 1), Len: 1})
	d.Kick(64)
	d.Await(64)
}

func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0x14, 0, 1, 1, 0x14, 0, 1, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		mem := virtiotest.NewRacyMemory(t, 0, 1<<16)
		v := &virtiotest.Vectors{IRQ: virtiotest.NewIRQ()}
		transport, err := virtiopci.New(virtiopci.Config{Name: "scratch", Device: &scratch{queues: 2}, Memory: mem, Vectors: v.Make})
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Close()
		for len(script) > 3 {
			off, n := uint64(script[0])|uint64(script[1])<<8, 1<<(script[2]&3)
			if script = script[3:]; n > len(script) {
				return
			}
			transport.Write(off&0x7fff, script[:n])
			transport.Read(off&0x7fff, make([]byte, n))
			transport.Function().Write(off&0xff, script[:n])
			transport.Function().Read(off&0xff, make([]byte, n))
			script = script[n:]
		}
	})
}
