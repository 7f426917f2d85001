package virtiotest

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"testing"
	"time"

	"govmm/devices"
	"govmm/devices/virtio"
)

// patience is how long a Driver waits for something that a correct device does
// at once. Only a failing test waits that long.
const patience = 20 * time.Second

// Registers of an MMIO device (4.2.2).
const (
	RegMagic             = 0x000
	RegVersion           = 0x004
	RegDeviceID          = 0x008
	RegVendorID          = 0x00c
	RegDeviceFeatures    = 0x010
	RegDeviceFeaturesSel = 0x014
	RegDriverFeatures    = 0x020
	RegDriverFeaturesSel = 0x024
	RegQueueSel          = 0x030
	RegQueueNumMax       = 0x034
	RegQueueNum          = 0x038
	RegQueueReady        = 0x044
	RegQueueNotify       = 0x050
	RegInterruptStatus   = 0x060
	RegInterruptACK      = 0x064
	RegStatus            = 0x070
	RegQueueDesc         = 0x080 // low half; the high half follows
	RegQueueDriver       = 0x090
	RegQueueDevice       = 0x0a0
	RegSHMLen            = 0x0b0
	RegSHMBase           = 0x0b8
	RegConfigGeneration  = 0x0fc
	RegConfig            = 0x100
)

// An IRQ counts edges. It is a devices.IRQ, ready as its zero value is not:
// make it with NewIRQ.
type IRQ struct {
	count atomic.Int64
	edge  chan struct{}
}

// NewIRQ returns an IRQ that had no edge.
func NewIRQ() *IRQ { return &IRQ{edge: make(chan struct{}, 1)} }

// Trigger implements devices.IRQ.
func (i *IRQ) Trigger() error {
	i.count.Add(1)
	select {
	case i.edge <- struct{}{}:
	default:
	}
	return nil
}

// Count returns the number of edges so far.
func (i *IRQ) Count() int64 { return i.count.Load() }

// A Driver drives the registers of an MMIO device as a guest would. It is for
// one goroutine, and fails its test when the device does not do what it must.
type Driver struct {
	Mem      *Memory
	IRQ      *IRQ
	Rings    []*Ring // set by Start and SetupQueue
	Features uint64  // that Negotiate wrote

	t testing.TB
	h devices.Handler
}

// NewDriver returns a Driver for the registers h of a device with the given
// memory and interrupt.
func NewDriver(t testing.TB, h devices.Handler, mem *Memory, irq *IRQ) *Driver {
	return &Driver{Mem: mem, IRQ: irq, t: t, h: h}
}

// Handler returns the registers, for accesses that a driver would not make.
func (d *Driver) Handler() devices.Handler { return d.h }

// Read32 reads a register.
func (d *Driver) Read32(off uint64) uint32 {
	var p [4]byte
	d.h.Read(off, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

// Write32 writes a register.
func (d *Driver) Write32(off uint64, v uint32) {
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	d.h.Write(off, p[:])
}

func (d *Driver) write64(off uint64, v uint64) {
	d.Write32(off, uint32(v))
	d.Write32(off+4, uint32(v>>32))
}

// ReadConfig reads n bytes of the configuration space, one by one.
func (d *Driver) ReadConfig(off, n uint64) []byte {
	p := make([]byte, n)
	for i := range p {
		d.h.Read(RegConfig+off+uint64(i), p[i:i+1])
	}
	return p
}

// Status reads the device status.
func (d *Driver) Status() uint8 { return uint8(d.Read32(RegStatus)) }

// AddStatus writes the status with bits added, as drivers do.
func (d *Driver) AddStatus(bits uint8) { d.Write32(RegStatus, uint32(d.Status()|bits)) }

// Reset resets the device.
func (d *Driver) Reset() {
	d.t.Helper()
	d.Write32(RegStatus, 0)
	if s := d.Status(); s != 0 {
		d.t.Errorf("status %#x after reset", s)
	}
	d.Rings = nil
}

// DeviceFeatures reads the features that the device offers.
func (d *Driver) DeviceFeatures() uint64 {
	d.Write32(RegDeviceFeaturesSel, 1)
	high := d.Read32(RegDeviceFeatures)
	d.Write32(RegDeviceFeaturesSel, 0)
	return uint64(high)<<32 | uint64(d.Read32(RegDeviceFeatures))
}

// WriteFeatures writes the features that the driver accepts.
func (d *Driver) WriteFeatures(features uint64) {
	for page := range uint32(2) {
		d.Write32(RegDriverFeaturesSel, page)
		d.Write32(RegDriverFeatures, uint32(features>>(32*page)))
	}
	d.Features = features
}

// Negotiate resets the device and does steps 2 to 6 of 3.1.1. It reports
// whether the device accepted the features.
func (d *Driver) Negotiate(features uint64) bool {
	d.t.Helper()
	d.Reset()
	d.AddStatus(virtio.StatusAcknowledge)
	d.AddStatus(virtio.StatusDriver)
	d.WriteFeatures(features)
	d.AddStatus(virtio.StatusFeaturesOK)
	return d.Status()&virtio.StatusFeaturesOK != 0
}

// SetupQueue describes r as queue i and enables it.
func (d *Driver) SetupQueue(i int, r *Ring) {
	d.Write32(RegQueueSel, uint32(i))
	d.Write32(RegQueueNum, uint32(r.Size))
	d.write64(RegQueueDesc, r.Desc)
	d.write64(RegQueueDriver, r.Avail)
	d.write64(RegQueueDevice, r.Used)
	d.Write32(RegQueueReady, 1)
	for len(d.Rings) <= i {
		d.Rings = append(d.Rings, nil)
	}
	d.Rings[i] = r
}

// QueueMax reads the maximum size of queue i.
func (d *Driver) QueueMax(i int) uint16 {
	d.Write32(RegQueueSel, uint32(i))
	return uint16(d.Read32(RegQueueNumMax))
}

// Start initializes the device with those of the given features that it
// offers, and VIRTIO_F_VERSION_1, enables all queues with rings of at most
// size descriptors, and sets DRIVER_OK.
func (d *Driver) Start(features uint64, size uint16) {
	d.t.Helper()
	features = (features | virtio.FeatureVersion1) & d.DeviceFeatures()
	if !d.Negotiate(features) {
		d.t.Fatalf("device does not accept features %#x that it offers", features)
	}
	for i := 0; d.QueueMax(i) != 0; i++ {
		d.SetupQueue(i, NewRing(d.Mem, min(size, d.QueueMax(i)), features&virtio.FeatureEventIdx != 0))
	}
	d.AddStatus(virtio.StatusDriverOK)
	if s := d.Status(); s&virtio.StatusDriverOK == 0 || s&virtio.StatusNeedsReset != 0 {
		d.t.Fatalf("status %#x after DRIVER_OK", s)
	}
}

// Kick notifies queue i if the device wants that.
func (d *Driver) Kick(i int) {
	if d.Rings[i].NeedsKick() {
		d.Notify(i)
	}
}

// Notify notifies queue i.
func (d *Driver) Notify(i int) { d.Write32(RegQueueNotify, uint32(i)) }

// Await returns the next used element of queue i. It waits for interrupts
// only, so a device that omits one it owes fails the test.
func (d *Driver) Await(i int) Used {
	d.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		if u, ok := d.Rings[i].Reap(); ok {
			return u
		}
		select {
		case <-d.IRQ.edge:
			d.Write32(RegInterruptACK, d.Read32(RegInterruptStatus))
		case <-timeout.C:
			d.t.Fatalf("queue %d: no buffer used; available %d, used %d, status %#x",
				i, d.Rings[i].AvailIdx(), d.Rings[i].UsedIdx(), d.Status())
		}
	}
}

// AwaitNeedsReset waits until the device asks for a reset, and checks that it
// sent a configuration change notification (2.1.2).
func (d *Driver) AwaitNeedsReset() {
	d.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for d.Read32(RegInterruptStatus)&2 == 0 {
		select {
		case <-d.IRQ.edge:
		case <-timeout.C:
			d.t.Fatalf("device did not ask for a reset; status %#x", d.Status())
		}
	}
	if d.Status()&virtio.StatusNeedsReset == 0 {
		d.t.Fatalf("status %#x after a configuration change notification", d.Status())
	}
}

// singleBits returns each bit of features alone.
func singleBits(features uint64) []uint64 {
	var all []uint64
	for f := features; f != 0; f &= f - 1 {
		all = append(all, 1<<bits.TrailingZeros64(f))
	}
	return all
}
