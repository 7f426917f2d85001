// Package virtiommio is the MMIO transport of virtio: section 4.2 of the
// Virtual I/O Device specification, version 1.2, with the register layout of
// device version 2. The legacy layout (version 1), shared memory regions and
// queue reset are left out.
//
// Offsets, widths and values of all accesses are the guest's. Registers take
// aligned 32-bit accesses only (4.2.2.2): other writes are ignored, other reads
// give zeros. The configuration space takes any.
package virtiommio

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"govmm/devices"
	"govmm/devices/virtio"
)

// RegionSize is the length of the registers' region in bytes.
const RegionSize = 0x1000

// Register offsets (4.2.2).
const (
	regMagic             = 0x000
	regVersion           = 0x004
	regDeviceID          = 0x008
	regVendorID          = 0x00c
	regDeviceFeatures    = 0x010
	regDeviceFeaturesSel = 0x014
	regDriverFeatures    = 0x020
	regDriverFeaturesSel = 0x024
	regQueueSel          = 0x030
	regQueueNumMax       = 0x034
	regQueueNum          = 0x038
	regQueueReady        = 0x044
	regQueueNotify       = 0x050
	regInterruptStatus   = 0x060
	regInterruptACK      = 0x064
	regStatus            = 0x070
	regQueueDescLow      = 0x080
	regQueueDescHigh     = 0x084
	regQueueDriverLow    = 0x090
	regQueueDriverHigh   = 0x094
	regQueueDeviceLow    = 0x0a0
	regQueueDeviceHigh   = 0x0a4
	regSHMLenLow         = 0x0b0
	regSHMLenHigh        = 0x0b4
	regSHMBaseLow        = 0x0b8
	regSHMBaseHigh       = 0x0bc
	regConfigGeneration  = 0x0fc
	regConfig            = 0x100
)

const (
	magic   = 0x74726976 // "virt" (4.2.2)
	version = 2
	vendor  = 0x4d564f47 // "GOVM"; the specification leaves the value open

	interruptQueue  = 1 // InterruptStatus, used buffer notification
	interruptConfig = 2 // InterruptStatus, configuration change notification
)

// A Config says what a Transport is made of. Device, Memory and IRQ are
// required.
type Config struct {
	Device virtio.Device
	Memory virtio.Memory
	IRQ    devices.IRQ   // edge-triggered
	Tracer virtio.Tracer // nil if there is none
	Log    *slog.Logger  // nil is silent
}

// A Transport is the registers of one device. It is a devices.Handler of
// RegionSize bytes. All methods are safe for concurrent use.
type Transport struct {
	controller *virtio.Controller
	interrupt  *interrupt

	// mu guards the selectors, and keeps two vCPUs from mixing the halves of
	// a queue's addresses. It is not held while the device starts or stops.
	mu                sync.Mutex
	deviceFeaturesSel uint32
	driverFeaturesSel uint32
	queueSel          uint32
}

// New returns a Transport whose device is in reset state. The caller closes it.
func New(cfg Config) (*Transport, error) {
	if cfg.IRQ == nil {
		return nil, errors.New("virtiommio: IRQ is required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Transport{interrupt: &interrupt{irq: cfg.IRQ, log: cfg.Log}}
	var err error
	t.controller, err = virtio.NewController(virtio.ControllerConfig{
		Device:     cfg.Device,
		Memory:     cfg.Memory,
		Interrupts: t.interrupt,
		Tracer:     cfg.Tracer,
		Log:        cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Doorbells returns one Doorbell for each queue: a 32-bit write of the queue's
// index to QueueNotify.
func (t *Transport) Doorbells() []virtio.Doorbell {
	bells := make([]virtio.Doorbell, t.controller.NumQueues())
	for i := range bells {
		bells[i] = virtio.Doorbell{Offset: regQueueNotify, Size: 4, Value: uint64(i), Queue: i, Event: t.controller.Event(i)}
	}
	return bells
}

// Pause stops the device, and returns when no request is in flight.
func (t *Transport) Pause() error { return t.controller.Pause() }

// Resume undoes Pause.
func (t *Transport) Resume() error { return t.controller.Resume() }

// Close stops the device for good, waits for the requests in flight and
// closes the doorbells' events. A second Close returns os.ErrClosed.
func (t *Transport) Close() error { return t.controller.Close() }

// Read answers a guest's read.
func (t *Transport) Read(off uint64, p []byte) {
	switch {
	case off >= regConfig:
		t.controller.ReadConfig(off-regConfig, p)
	case len(p) == 4 && off%4 == 0:
		binary.LittleEndian.PutUint32(p, t.register(off))
	default:
		clear(p)
	}
}

// Write takes a guest's write. A write to Status may block until the device
// has stopped; see [virtio.Controller.SetStatus].
func (t *Transport) Write(off uint64, p []byte) {
	switch {
	case off >= regConfig:
		t.controller.WriteConfig(off-regConfig, p)
	case len(p) == 4 && off%4 == 0:
		t.setRegister(off, binary.LittleEndian.Uint32(p))
	}
}

// register returns a readable register, and 0 for all others.
func (t *Transport) register(off uint64) uint32 {
	switch off {
	case regMagic:
		return magic
	case regVersion:
		return version
	case regDeviceID:
		return uint32(t.controller.Type())
	case regVendorID:
		return vendor
	case regDeviceFeatures:
		return t.featurePage()
	case regQueueNumMax:
		return uint32(t.controller.QueueMax(t.selectedQueue()))
	case regQueueReady:
		if t.controller.QueueSetup(t.selectedQueue()).Ready {
			return 1
		}
	case regInterruptStatus:
		return t.interrupt.status.Load()
	case regStatus:
		return uint32(t.controller.Status())
	case regSHMLenLow, regSHMLenHigh, regSHMBaseLow, regSHMBaseHigh:
		return 0xffffffff // no such region
	case regConfigGeneration:
		return t.controller.ConfigGeneration()
	}
	return 0
}

// featurePage returns the selected 32 of the offered features.
func (t *Transport) featurePage() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deviceFeaturesSel > 1 {
		return 0
	}
	return uint32(t.controller.Features() >> (32 * t.deviceFeaturesSel))
}

func (t *Transport) selectedQueue() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queueSel
}

// setRegister takes a write to a register, and ignores those that are not
// writable.
func (t *Transport) setRegister(off uint64, v uint32) {
	switch off {
	case regQueueNotify:
		t.controller.Notify(v)
	case regInterruptACK:
		t.interrupt.acknowledge(v)
	case regStatus:
		t.setStatus(v)
	case regQueueReady:
		// Nothing but 0 and 1 has a meaning.
		if v <= 1 {
			t.controller.SetQueueReady(t.selectedQueue(), v == 1)
		}
	default:
		t.configure(off, v)
	}
}

// setStatus takes a write to Status. Only a write of 0 is a reset, so a value
// whose meaningful bits alone are 0 must not become one.
func (t *Transport) setStatus(v uint32) {
	if v != 0 && uint8(v) == 0 {
		return
	}
	t.controller.SetStatus(uint8(v))
	if v == 0 {
		t.interrupt.status.Store(0) // 4.2.2.1
		t.mu.Lock()
		defer t.mu.Unlock()
		t.deviceFeaturesSel, t.driverFeaturesSel, t.queueSel = 0, 0, 0
	}
}

// configure takes a write to one of the registers that select and describe.
func (t *Transport) configure(off uint64, v uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch off {
	case regDeviceFeaturesSel:
		t.deviceFeaturesSel = v
	case regDriverFeaturesSel:
		t.driverFeaturesSel = v
	case regDriverFeatures:
		t.controller.SetDriverFeatures(t.driverFeaturesSel, v)
	case regQueueSel:
		t.queueSel = v
	default:
		t.configureQueue(off, v)
	}
}

// configureQueue changes one field of the selected queue. It is called with mu
// held.
func (t *Transport) configureQueue(off uint64, v uint32) {
	s := t.controller.QueueSetup(t.queueSel)
	switch off {
	case regQueueNum:
		s.Size = v
	case regQueueDescLow:
		setLow(&s.Desc, v)
	case regQueueDescHigh:
		setHigh(&s.Desc, v)
	case regQueueDriverLow:
		setLow(&s.Avail, v)
	case regQueueDriverHigh:
		setHigh(&s.Avail, v)
	case regQueueDeviceLow:
		setLow(&s.Used, v)
	case regQueueDeviceHigh:
		setHigh(&s.Used, v)
	default:
		return
	}
	t.controller.ConfigureQueue(t.queueSel, s)
}

func setLow(x *uint64, v uint32)  { *x = *x&^0xffffffff | uint64(v) }
func setHigh(x *uint64, v uint32) { *x = *x&0xffffffff | uint64(v)<<32 }

// An interrupt is the one interrupt of an MMIO device with its cause bits
// (4.2.3.4). It is a virtio.Interrupter.
type interrupt struct {
	irq      devices.IRQ
	log      *slog.Logger
	failures virtio.RateLimit
	status   atomic.Uint32
}

func (i *interrupt) Queue(int) { i.raise(interruptQueue) }
func (i *interrupt) Config()   { i.raise(interruptConfig) }

// raise records a cause, then sends an edge: also when the cause is recorded
// already, for the driver may just be acknowledging the earlier one.
func (i *interrupt) raise(cause uint32) {
	i.status.Or(cause)
	i.trigger()
}

// acknowledge clears causes. A cause that the driver did not acknowledge, as
// it came after the driver had read InterruptStatus, has sent its edge, which
// an interrupt controller may have merged with the one being handled. A level
// would still be high now; the edge that stands for it is sent again.
func (i *interrupt) acknowledge(causes uint32) {
	if old := i.status.And(^causes); old&^causes != 0 {
		i.trigger()
	}
}

func (i *interrupt) trigger() {
	err := i.irq.Trigger()
	if err == nil {
		return
	}
	if suppressed, ok := i.failures.Allow(time.Now()); ok {
		i.log.Error("virtio interrupt was not delivered", "err", err, "suppressed", suppressed)
	}
}
