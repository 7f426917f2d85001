// Package virtiopci is the PCI transport of virtio: section 4.1 of the Virtual I/O Device specification, version
// 1.2, for devices that are not transitional. Left out: the legacy interface, INTx (interrupts are by MSI-X only, so a
// driver that does without it has to poll), shared memory regions, notification data and queue reset.
//
// A device is one function with two BARs. BAR 0, in memory, has all structures. BAR 2, of ports, has the doorbells once more: for
// a hypervisor it is less work to see a write to a port than to decode an instruction that writes to
// memory. It stands first in the capabilities list, and drivers take the first that they can use (4.1.4).
//
// Offsets, widths and values of all accesses are the guest's. Registers take accesses of their own width (4.1.3.1), 64-bit ones also
// by halves: other writes are ignored.
package virtiopci

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"govmm/devices/eventfd"
	"govmm/devices/pci"
	"govmm/devices/virtio"
)

// The structures in BAR 0, a page each so that a driver can give one to a user.
const (
	commonOffset  = 0x0000
	isrOffset     = 0x1000
	deviceOffset  = 0x2000
	notifyOffset  = 0x3000
	tableOffset   = 0x4000
	pendingOffset = 0x5000
	structureSize = 0x1000
	barSize       = 0x8000

	memoryBAR = 0
	portsBAR  = 2

	// doorbellStride is the distance of two queues' doorbells, in bytes (4.1.4.4).
	doorbellStride = 4
)

const noVector = 0xffff // VIRTIO_MSI_NO_VECTOR (4.1.5.1.2)

// PCI IDs (4.1.2).
const (
	vendorID     = 0x1af4
	deviceIDBase = 0x1040
	revision     = 1
)

// A Config says what a Transport is made of. Device, Memory and Vectors are required.
type Config struct {
	Name   string // stands in errors
	Device virtio.Device
	Memory virtio.Memory

	// Vectors makes the interrupts: one for each queue, and one before them for changes of the configuration.
	Vectors func(n int) []pci.Vector

	// WatchDoorbell, if set, is told that a doorbell has come to be at an address (on), or is no more. Every write of two bytes
	// there is to signal the event. A virtual machine monitor lets the kernel watch the address; without that, or when it fails,
	// writes reach the transport, which does the same. It is called with one doorbell at a time.
	WatchDoorbell func(space pci.Space, addr uint64, event *eventfd.Event, on bool) error

	Tracer virtio.Tracer // nil if there is none
	Log    *slog.Logger  // nil is silent
}

// A Transport is the registers of one device. All methods are safe for concurrent use.
type Transport struct {
	controller *virtio.Controller
	function   *pci.Function
	msix       *pci.MSIX
	interrupt  *interrupt
	access     *configAccess
	cfg        Config

	// mu guards the selectors, and keeps two vCPUs from mixing the halves of a queue's addresses. It is not held
	// while the device starts or stops.
	mu                sync.Mutex
	deviceFeaturesSel uint32
	driverFeaturesSel uint32
	queueSel          uint16
}

// New returns a Transport whose device is in reset state. The caller adds its Function to a bus, and closes it.
func New(cfg Config) (*Transport, error) {
	if cfg.Device == nil || cfg.Vectors == nil {
		return nil, errors.New("virtiopci: Device and Vectors are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	queues := len(cfg.Device.QueueSizes())
	if queues >= pci.MaxVectors {
		return nil, fmt.Errorf("virtiopci: %d queues are too many", queues)
	}
	t := &Transport{cfg: cfg, interrupt: newInterrupt(queues, cfg.Log)}
	var err error
	if t.msix, err = pci.NewMSIX(cfg.Vectors(queues+1), t.interrupt.failed); err != nil {
		return nil, err
	}
	t.interrupt.msix = t.msix
	if t.function, err = t.newFunction(); err != nil {
		return nil, err
	}
	t.controller, err = virtio.NewController(virtio.ControllerConfig{
		Device: cfg.Device, Memory: cfg.Memory, Interrupts: t.interrupt, Tracer: cfg.Tracer, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Function returns the PCI function.
func (t *Transport) Function() *pci.Function { return t.function }

// Pause stops the device, and returns when no request is in flight.
func (t *Transport) Pause() error { return t.controller.Pause() }

// Resume undoes Pause.
func (t *Transport) Resume() error { return t.controller.Resume() }

// Close stops the device for good, waits for the requests in flight and
// closes the doorbells' events. A second Close returns os.ErrClosed.
func (t *Transport) Close() error { return t.controller.Close() }

// watch tells the monitor of the doorbells from addr on.
func (t *Transport) watch(space pci.Space, addr uint64, on bool) {
	if t.cfg.WatchDoorbell == nil {
		return
	}
	for i := range t.controller.NumQueues() {
		if err := t.cfg.WatchDoorbell(space, addr+uint64(i)*doorbellStride, t.controller.Event(i), on); err != nil {
			t.interrupt.complain("doorbell is not watched by the kernel", err)
		}
	}
}

// Read answers a read of BAR 0.
func (t *Transport) Read(off uint64, p []byte) {
	switch at := off % structureSize; off - at {
	case commonOffset:
		t.readCommon(at, p)
	case isrOffset:
		clear(p)
		if at == 0 {
			p[0] = t.interrupt.takeISR()
		}
	case deviceOffset:
		t.controller.ReadConfig(at, p)
	case tableOffset:
		t.msix.Table().Read(at, p)
	case pendingOffset:
		t.msix.Pending().Read(at, p)
	default:
		clear(p)
	}
}

// Write takes a write to BAR 0. One to device_status may block until the device has stopped; see
// [virtio.Controller.SetStatus].
func (t *Transport) Write(off uint64, p []byte) {
	switch at := off % structureSize; off - at {
	case commonOffset:
		t.writeCommon(at, p)
	case deviceOffset:
		t.controller.WriteConfig(at, p)
	case notifyOffset:
		t.notify(at, p)
	case tableOffset:
		t.msix.Table().Write(at, p)
	}
}

// notify takes a write to a doorbell (4.1.5.2). The value is the queue's number, as the address is.
func (t *Transport) notify(at uint64, p []byte) {
	if at%doorbellStride == 0 && len(p) >= 2 {
		t.controller.Notify(uint32(at / doorbellStride))
	}
}

// ports is the handler of BAR 2.
type ports Transport

func (b *ports) Read(_ uint64, p []byte)    { clear(p) }
func (b *ports) Write(off uint64, p []byte) { (*Transport)(b).notify(off, p) }

// An interrupt sends notifications to the driver (4.1.5.3, 4.1.5.4). It is a virtio.Interrupter.
type interrupt struct {
	msix     *pci.MSIX
	log      *slog.Logger
	failures virtio.RateLimit
	isr      atomic.Uint32
	config   atomic.Uint32   // the vector for changes of the configuration
	queues   []atomic.Uint32 // the vector of each queue
}

// Bits of the ISR status (4.1.4.5).
const (
	isrQueue  = 1
	isrConfig = 2
)

func newInterrupt(queues int, log *slog.Logger) *interrupt {
	i := &interrupt{log: log, queues: make([]atomic.Uint32, queues)}
	i.reset()
	return i
}

func (i *interrupt) reset() {
	i.isr.Store(0)
	i.config.Store(noVector)
	for q := range i.queues {
		i.queues[q].Store(noVector)
	}
}

func (i *interrupt) Queue(q int) { i.raise(&i.queues[q], isrQueue) }
func (i *interrupt) Config()     { i.raise(&i.config, isrConfig) }

// raise sends the message of a vector. Without MSI-X it shows the cause to a driver that polls.
func (i *interrupt) raise(vector *atomic.Uint32, cause uint32) {
	if !i.msix.Enabled() {
		i.isr.Or(cause)
		return
	}
	if v := vector.Load(); v != noVector {
		i.msix.Trigger(uint16(v))
	}
}

// takeISR returns the ISR status, which reading clears.
func (i *interrupt) takeISR() byte { return byte(i.isr.Swap(0)) }

// setVector chooses a vector, and none if there is no such.
func (i *interrupt) setVector(vector *atomic.Uint32, v uint16) {
	if int(v) >= i.msix.Len() {
		v = noVector
	}
	vector.Store(uint32(v))
}

func (i *interrupt) failed(err error) { i.complain("interrupt was not delivered", err) }

func (i *interrupt) complain(what string, err error) {
	if suppressed, ok := i.failures.Allow(time.Now()); ok {
		i.log.Error("virtio "+what, "err", err, "suppressed", suppressed)
	}
}
