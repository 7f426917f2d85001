package virtiotest

import (
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

// A Transport is a device with its registers, as virtiommio and virtiopci have it.
type Transport interface {
	devices.Snapshotter
	Pause() error
	Resume() error
	Close() error
}

// registers is what a driver does with a transport's registers. It does not check what it gets.
type registers interface {
	status() uint8
	setStatus(v uint8)
	deviceFeatures(page uint32) uint32
	setDriverFeatures(page, bits uint32)
	queueMax(i int) uint16
	queueReady(i int) bool
	setUpQueue(i int, r *Ring)
	notify(i int)
	// The configuration space of the device, of which configSize bytes can be reached.
	readConfig(off uint64, p []byte)
	writeConfig(off uint64, p []byte)
	configSize() uint64
	// acknowledge tells the device that an interrupt was taken.
	acknowledge()
	// configInterrupted reports whether the device told of a change of its configuration since the last reset.
	configInterrupted() bool
	// pending reports whether an interrupt is to be acknowledged.
	pending() bool
}

// A Driver drives a device as a guest would. It is for one goroutine, and fails its test when the device does not do
// what it must.
type Driver struct {
	Mem      *Memory
	IRQ      *IRQ
	Rings    []*Ring // set by Start and SetupQueue
	Features uint64  // that Negotiate wrote

	t    testing.TB
	regs registers
}

// ReadConfig reads n bytes of the configuration space, one by one.
func (d *Driver) ReadConfig(off, n uint64) []byte {
	p := make([]byte, n)
	for i := range p {
		d.regs.readConfig(off+uint64(i), p[i:i+1])
	}
	return p
}

// WriteConfig writes p to the configuration space at once.
func (d *Driver) WriteConfig(off uint64, p []byte) { d.regs.writeConfig(off, p) }

// Status reads the device status.
func (d *Driver) Status() uint8 { return d.regs.status() }

// AddStatus writes the status with bits added, as drivers do.
func (d *Driver) AddStatus(bits uint8) { d.regs.setStatus(d.Status() | bits) }

// Reset resets the device.
func (d *Driver) Reset() {
	d.t.Helper()
	d.regs.setStatus(0)
	if s := d.Status(); s != 0 {
		d.t.Errorf("status %#x after reset", s)
	}
	d.Rings = nil
}

// DeviceFeatures reads the features that the device offers.
func (d *Driver) DeviceFeatures() uint64 {
	return uint64(d.regs.deviceFeatures(1))<<32 | uint64(d.regs.deviceFeatures(0))
}

// WriteFeatures writes the features that the driver accepts.
func (d *Driver) WriteFeatures(features uint64) {
	for page := range uint32(2) {
		d.regs.setDriverFeatures(page, uint32(features>>(32*page)))
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
	d.regs.setUpQueue(i, r)
	for len(d.Rings) <= i {
		d.Rings = append(d.Rings, nil)
	}
	d.Rings[i] = r
}

// QueueMax reads the maximum size of queue i.
func (d *Driver) QueueMax(i int) uint16 { return d.regs.queueMax(i) }

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
func (d *Driver) Notify(i int) { d.regs.notify(i) }

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
			d.regs.acknowledge()
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
	for !d.regs.configInterrupted() {
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
