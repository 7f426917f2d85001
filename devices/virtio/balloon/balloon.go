// Package balloon models the traditional memory balloon device (virtio 1.2, 5.5). By it a guest gives memory
// back to the host: on demand, when the device asks for the balloon to grow (inflation), and by itself, when the
// driver reports pages that it has no use for (free page reporting). The guest's memory statistics come the same
// way.
//
// # Left out
//
// Free page hinting (VIRTIO_BALLOON_F_FREE_PAGE_HINT) spares a live migration pages to send; there is no
// live migration. Page poisoning (VIRTIO_BALLOON_F_PAGE_POISON) would promise what a page contains after it was
// reported, which RAM cannot keep that has a file mapped under it; a driver that needs the promise then
// does not report. VIRTIO_BALLOON_F_MUST_TELL_HOST is of no use: a page comes back when the guest touches it, and
// nothing has to be done first.
//
// # Where the reporting queue is
//
// By 5.5.2 the reporting_vq is queue 4, whichever others exist. Linux gives numbers only to the queues
// that it uses, so there it is queue 3, or 2 without statistics; newer kernels may follow the specification.
// So the device has all five queues, and each one that the driver enables beyond the others that it
// negotiated serves as reporting_vq.
//
// # The guest's inputs
//
// All of the requests, what the driver writes to its configuration field, and the statistics. Pages that are
// not RAM are ignored. A request's work is bounded: by maxBatches for inflation, and for reporting by
// the 4 GiB and the queue's size that every chain is bounded by. The guest may discard any of its RAM, its rings
// among it, as often as it likes; that harms only itself. The statistics are what the guest says.
package balloon

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"sync"

	"govmm/devices/virtio"
)

// Feature bits (5.5.3).
const (
	featureStats        uint64 = 1 << 1 // VIRTIO_BALLOON_F_STATS_VQ
	featureDeflateOnOOM uint64 = 1 << 2 // VIRTIO_BALLOON_F_DEFLATE_ON_OOM
	featureReporting    uint64 = 1 << 5 // VIRTIO_BALLOON_F_PAGE_REPORTING
)

// Queues (5.5.2). Those from statsQueue on are what the driver makes of them; see the package comment.
const (
	inflateQueue = 0
	deflateQueue = 1
	statsQueue   = 2
	numQueues    = 5
)

// queueSize is large enough for Linux, which wants to report 32 pieces at once.
const queueSize = 64

// Offsets in struct virtio_balloon_config (5.5.4). Its other fields belong to features that are left out.
const (
	configNumPages = 0
	configActual   = 4
	configSize     = 8
)

// PageSize is the unit of the protocol in bytes, whatever the guest's or the host's pages are (5.5.6).
const PageSize = 1 << pageShift

const pageShift = 12

// A Discarder gives back the host's memory behind a window of guest RAM, one that virtio.Memory.WriteSlice
// returned. What the window contains is undefined afterwards. It may be called from several goroutines at
// once and does not allocate when it succeeds.
type Discarder interface {
	Discard(window []byte) error
}

// Config says what a Device is made of. The zero value is ready.
type Config struct {
	// Memory is where discarded pages go. Nil means the memory of the machine that the device is in, the Memory of
	// the virtio.Session, which must be a Discarder then.
	Memory Discarder

	// Log takes what the guest or the host does wrong, one line of each kind in ten seconds. Nil is silent.
	Log *slog.Logger
}

// A Device is a virtio.Device. Its methods may be called from any number of goroutines.
type Device struct {
	memory  Discarder // as configured
	discard Discarder // of the session
	log     *slog.Logger
	outside virtio.RateLimit // pages that are not RAM
	failed  virtio.RateLimit // the host's failures

	mu       sync.Mutex
	numPages uint32 // that the balloon is to hold
	actual   uint32 // that the driver says it holds

	// target holds a token when numPages has changed and the driver was not told.
	target chan struct{}

	stats   survey
	session *virtio.Session // of the last Run, for the Run that follows

	batch batch // for the goroutine that inflates
}

// New returns a device with an empty balloon.
func New(c Config) *Device {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	d := &Device{memory: c.Memory, discard: c.Memory, log: c.Log, target: make(chan struct{}, 1)}
	d.stats.ask = make(chan struct{}, 1)
	return d
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.DeviceType { return virtio.TypeBalloon }

// Features implements virtio.Device.
func (d *Device) Features() uint64 { return featureStats | featureDeflateOnOOM | featureReporting }

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	return []uint16{queueSize, queueSize, queueSize, queueSize, queueSize}
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) {
	c := d.config()
	virtio.ReadConfig(c[:], off, p)
}

// config is struct virtio_balloon_config as bytes.
func (d *Device) config() (c [configSize]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	binary.LittleEndian.PutUint32(c[configNumPages:], d.numPages)
	binary.LittleEndian.PutUint32(c[configActual:], d.actual)
	return c
}

// WriteConfig implements virtio.ConfigWriter: the driver says how large the balloon is.
func (d *Device) WriteConfig(off uint64, p []byte) {
	if off >= configSize {
		return
	}
	c := d.config()
	copy(c[off:], p)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.actual = binary.LittleEndian.Uint32(c[configActual:])
}

// SetTarget asks the driver to bring the balloon to the given size in bytes, rounded down to PageSize: that
// much of its RAM the guest is to do without. The driver approaches it as the guest's memory allows, which
// Actual tells, and again after every change of the target; 0 gives all back to the guest. The target may be set at
// any time and outlives the driver.
//
// A target near the size of the RAM is not refused: a guest that has nothing else left takes memory out of the balloon again
// (VIRTIO_BALLOON_F_DEFLATE_ON_OOM). An error means that the protocol cannot express the size, of 16 TiB or more.
func (d *Device) SetTarget(bytes uint64) error {
	pages := bytes >> pageShift
	if pages > math.MaxUint32 {
		return fmt.Errorf("virtio balloon: a target of %d bytes is too large", bytes)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.numPages == uint32(pages) {
		return nil
	}
	d.numPages = uint32(pages)
	signal(d.target)
	return nil
}

// Target returns the size in bytes that the balloon is to have.
func (d *Device) Target() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.numPages) << pageShift
}

// Actual returns the size of the balloon in bytes as the driver told it last. It is the guest's word, and may be anything.
func (d *Device) Actual() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.actual) << pageShift
}

// signal puts a token into c unless it has one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
