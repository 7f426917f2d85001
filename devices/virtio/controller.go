package virtio

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"govmm/devices/eventfd"
)

// Device status bits (2.1).
const (
	StatusAcknowledge uint8 = 1
	StatusDriver      uint8 = 2
	StatusDriverOK    uint8 = 4
	StatusFeaturesOK  uint8 = 8
	StatusNeedsReset  uint8 = 64 // DEVICE_NEEDS_RESET, set by the device only
	StatusFailed      uint8 = 128
)

// A ControllerConfig says what a Controller is made of. Device, Memory and
// Interrupts are required.
type ControllerConfig struct {
	Device     Device
	Memory     Memory
	Interrupts Interrupter
	Tracer     Tracer       // nil if there is none
	Log        *slog.Logger // nil is silent
}

// A QueueSetup is what the driver chose for one queue. Its values are the
// guest's and are checked when the driver sets DRIVER_OK.
type QueueSetup struct {
	Size  uint32 // number of descriptors; the maximum after a reset
	Desc  uint64 // address of the descriptor table
	Avail uint64 // of the available ring ("driver area")
	Used  uint64 // of the used ring ("device area")
	Ready bool   // the driver enabled the queue
}

// A Controller does for a Device what chapters 2 and 3 ask of every device. A
// transport decodes its registers and calls the Controller's methods; all of
// them are safe for concurrent use, take any value, and return at once, with
// the exception that each method says.
type Controller struct {
	device     Device
	memory     Memory
	interrupts Interrupter
	tracer     Tracer
	log        *slog.Logger
	offered    uint64
	maxima     []uint16
	events     []*eventfd.Event

	// lifecycle serializes starting and stopping Device.Run. It is held while
	// Run finishes, and taken before mu. It guards:
	lifecycle sync.Mutex
	session   *Session // from DRIVER_OK until reset, nil if its rings were wrong
	run       *run     // nil when stopped
	paused    bool
	closed    bool

	// mu is held for moments only. It guards what registers show:
	mu         sync.Mutex
	status     uint8
	accepted   uint64 // features of the driver; frozen by FEATURES_OK
	unknown    bool   // the driver accepted a feature beyond bit 63
	queues     []QueueSetup
	generation uint32

	faults RateLimit
}

// NewController returns a Controller in reset state. The caller closes it. An
// error means that the configuration is wrong or that the host is out of file
// descriptors.
func NewController(cfg ControllerConfig) (*Controller, error) {
	if cfg.Device == nil || cfg.Memory == nil || cfg.Interrupts == nil {
		return nil, errors.New("virtio: Device, Memory and Interrupts are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Controller{
		device:     cfg.Device,
		memory:     cfg.Memory,
		interrupts: cfg.Interrupts,
		tracer:     cfg.Tracer,
		log:        cfg.Log,
		offered:    cfg.Device.Features() | transportFeatures,
		maxima:     slices.Clone(cfg.Device.QueueSizes()),
	}
	if bits := cfg.Device.Features() & reservedFeatures; bits != 0 {
		return nil, fmt.Errorf("virtio: device offers reserved feature bits %#x", bits)
	}
	for i, n := range c.maxima {
		if n == 0 || n&(n-1) != 0 || n > MaxQueueSize {
			return nil, fmt.Errorf("virtio: maximum size %d of queue %d is not a power of two up to %d", n, i, MaxQueueSize)
		}
	}
	for range c.maxima {
		e, err := eventfd.New()
		if err != nil {
			c.closeEvents()
			return nil, fmt.Errorf("virtio: %w", err)
		}
		c.events = append(c.events, e)
	}
	c.queues = make([]QueueSetup, len(c.maxima))
	c.clear()
	return c, nil
}

// clear makes the registers those of a device in reset. It is called with mu
// held, or before c is shared.
func (c *Controller) clear() {
	c.status, c.accepted, c.unknown = 0, 0, false
	for i := range c.queues {
		c.queues[i] = QueueSetup{Size: uint32(c.maxima[i])}
	}
}

// Type returns the device ID.
func (c *Controller) Type() DeviceType { return c.device.Type() }

// Features returns all features that are offered to the driver.
func (c *Controller) Features() uint64 { return c.offered }

// SetDriverFeatures takes 32 feature bits that the driver accepts: bits
// 32*page to 32*page+31. After FEATURES_OK it does nothing (3.1.1).
func (c *Controller) SetDriverFeatures(page, bits uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.status&StatusFeaturesOK != 0:
	case page > 1:
		c.unknown = c.unknown || bits != 0
	default:
		shift := 32 * page
		c.accepted = c.accepted&^(0xffffffff<<shift) | uint64(bits)<<shift
	}
}

// DriverFeatures returns 32 of the feature bits that the driver accepted, as SetDriverFeatures took them.
func (c *Controller) DriverFeatures(page uint32) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if page > 1 {
		return 0
	}
	return uint32(c.accepted >> (32 * page))
}

// Status returns the device status.
func (c *Controller) Status() uint8 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// SetStatus takes a status that the driver writes (2.1, 3.1). Bits are only
// added; those whose condition is not met, such as FEATURES_OK after an
// unacceptable choice of features, stay clear. DRIVER_OK starts Device.Run.
//
// A status of 0 resets the device. Drivers, older Linux ones over MMIO among
// them, do not wait for the status to read 0 before they reuse the memory of
// their rings. So this call returns only when Device.Run has: it blocks the
// vCPU for as long as the host takes for the requests in flight.
func (c *Controller) SetStatus(status uint8) {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if status == 0 {
		c.stop()
		c.session = nil
		if r, ok := c.device.(Resetter); ok {
			r.Reset()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.clear()
		return
	}
	if c.advance(status) {
		c.activate()
	}
}

// advance adds bits to the status in the order of 3.1.1, and reports whether
// DRIVER_OK is new.
func (c *Controller) advance(status uint8) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.status
	c.status |= status & (StatusAcknowledge | StatusFailed)
	if c.status&StatusAcknowledge != 0 {
		c.status |= status & StatusDriver
	}
	if c.status&StatusDriver != 0 && c.featuresAcceptable() {
		c.status |= status & StatusFeaturesOK
	}
	// A device that needs a reset is not started before it had one.
	if c.status&StatusFeaturesOK != 0 && c.status&StatusNeedsReset == 0 {
		c.status |= status & StatusDriverOK
	}
	return c.status&^before&StatusDriverOK != 0
}

// featuresAcceptable applies 2.2.2 and, with VERSION_1, 6.2.
func (c *Controller) featuresAcceptable() bool {
	return !c.unknown && c.accepted&^c.offered == 0 && c.accepted&FeatureVersion1 != 0
}

// QueueMax returns the maximum size of queue i, or 0 if there is none.
func (c *Controller) QueueMax(i uint32) uint16 {
	if uint64(i) >= uint64(len(c.maxima)) {
		return 0
	}
	return c.maxima[i]
}

// QueueSetup returns what the driver chose for queue i, and zeros if there is
// no such queue.
func (c *Controller) QueueSetup(i uint32) QueueSetup {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(i) >= uint64(len(c.queues)) {
		return QueueSetup{}
	}
	return c.queues[i]
}

// ConfigureQueue takes the size and the addresses of queue i from s, whose
// Ready it ignores. It does nothing while the queue is ready, and from
// DRIVER_OK to the next reset: the queues in use never change.
func (c *Controller) ConfigureQueue(i uint32, s QueueSetup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(i) >= uint64(len(c.queues)) || c.queues[i].Ready || c.status&StatusDriverOK != 0 {
		return
	}
	s.Ready = false
	c.queues[i] = s
}

// SetQueueReady enables or disables queue i. A queue is enabled only before
// DRIVER_OK. It may be disabled later (4.2.2.2), and is never touched again
// when the call returns, which waits as a reset does.
func (c *Controller) SetQueueReady(i uint32, ready bool) {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if c.setReady(i, ready) && c.session != nil {
		c.stop()
		c.session.Queues[i] = c.disabledQueue(int(i))
		c.start()
	}
}

// setReady reports whether a queue in use was disabled.
func (c *Controller) setReady(i uint32, ready bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(i) >= uint64(len(c.queues)) || c.queues[i].Ready == ready {
		return false
	}
	live := c.status&StatusDriverOK != 0
	if ready && live {
		return false
	}
	c.queues[i].Ready = ready
	return live
}

// Notify does what queue i's doorbell does. It ignores queues that do not
// exist.
func (c *Controller) Notify(i uint32) {
	if uint64(i) < uint64(len(c.events)) {
		// The only failure is that the event is closed, with the device.
		_ = c.events[i].Signal()
	}
}

// Event returns the event that queue i's doorbell signals. It stays the same
// until Close.
func (c *Controller) Event(i int) *eventfd.Event { return c.events[i] }

// NumQueues returns the number of queues.
func (c *Controller) NumQueues() int { return len(c.maxima) }

// ConfigGeneration returns the configuration atomicity value (2.5.1).
func (c *Controller) ConfigGeneration() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// ReadConfig fills p from the device-specific configuration space. Bytes
// beyond its structure are 0.
func (c *Controller) ReadConfig(off uint64, p []byte) {
	clear(p)
	c.device.ReadConfig(off, p)
}

// WriteConfig writes to the device-specific configuration space, if the
// device has fields to write.
func (c *Controller) WriteConfig(off uint64, p []byte) {
	if w, ok := c.device.(ConfigWriter); ok {
		w.WriteConfig(off, p)
	}
}

// configChanged implements Session.ConfigChanged.
func (c *Controller) configChanged() {
	c.mu.Lock()
	c.generation++
	live := c.status&StatusDriverOK != 0
	c.mu.Unlock()
	if live {
		c.interrupts.Config()
	}
}

// fail puts the device into DEVICE_NEEDS_RESET (2.1.2). lifecycle may be held:
// an Interrupter does not come back here.
func (c *Controller) fail(err error) {
	c.mu.Lock()
	c.status |= StatusNeedsReset
	live := c.status&StatusDriverOK != 0
	c.mu.Unlock()
	if suppressed, ok := c.faults.Allow(time.Now()); ok {
		c.log.Error("virtio device needs a reset", "device", c.device.Type(), "err", err, "suppressed", suppressed)
	}
	if live {
		c.interrupts.Config()
	}
}
