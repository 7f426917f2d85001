// Package console models the virtio console device (virtio 1.2, 5.3) with its one port, which is /dev/hvc0 in a Linux guest:
// output, input, the size of the terminal, and the emergency write, by which a guest prints without
// queues.
//
// With VIRTIO_CONSOLE_F_MULTIPORT the driver says by a control message when it takes input (5.3.6.2), and gets none
// before. Linux needs that: it discards what is in the receive queue before it has set up the port, which is after
// DRIVER_OK. A driver without the feature gets input from DRIVER_OK on.
//
// Left out are further ports, and the name of the port.
//
// # The guest's inputs
//
// What it prints, the buffers that it gives for input and control messages, its own control messages, and what it writes
// to the configuration space. Output is passed on
// as it is, without a look at it, and straight from guest RAM, so that the bytes may change until Out has read
// them. A buffer is printed up to maxOutput, which bounds what a reset waits for.
package console

import (
	"encoding/binary"
	"io"
	"log/slog"
	"sync"
	"time"

	"govmm/devices/virtio"
)

// Feature bits (5.3.3).
const (
	featureSize           uint64 = 1 << 0 // VIRTIO_CONSOLE_F_SIZE
	featureMultiport      uint64 = 1 << 1 // VIRTIO_CONSOLE_F_MULTIPORT
	featureEmergencyWrite uint64 = 1 << 2 // VIRTIO_CONSOLE_F_EMERG_WRITE
)

// Queues (5.3.2).
const (
	receiveQueue  = 0 // receiveq(port0)
	transmitQueue = 1 // transmitq(port0)

	// With VIRTIO_CONSOLE_F_MULTIPORT, from the driver's point of view.
	controlReceiveQueue  = 2
	controlTransmitQueue = 3

	// Linux fills the receive queue with a page for each descriptor, so it is no larger than is of use.
	receiveQueueSize  = 16
	transmitQueueSize = 64

	// There are never more messages under way to the driver, and Linux sends one at a time. It has a
	// page for each message that it may get.
	controlQueueSize = 4

	maxPorts = 1
)

// Offsets in struct virtio_console_config (5.3.4).
const (
	configCols           = 0
	configRows           = 2
	configMaxPorts       = 4
	configEmergencyWrite = 8
	configSize           = 12
)

// Config says what a Device is connected to. The zero value is a console without a screen.
type Config struct {
	// Out takes what the guest prints, in order. There is one Write at a time, of at most 32 KiB of guest
	// RAM, which Out must not keep. While a Write blocks, output waits, and so do a reset
	// and a pause of the device, but not input. Of a Write that fails, the bytes are lost. Nil discards.
	Out io.Writer

	// Log takes what the guest or the host does wrong, one line of each kind in ten seconds. Nil is silent.
	Log *slog.Logger
}

// A Device is a virtio.Device. Its methods may be called from any number of goroutines.
type Device struct {
	log *slog.Logger

	sizeMu     sync.Mutex
	cols, rows uint16
	resized    chan struct{} // holds a token when the size has changed and the driver was not told

	input   input
	control control

	// outMu makes the calls of out one at a time; nothing else is done with it held.
	outMu  sync.Mutex
	out    io.Writer
	single [1]byte // of an emergency write

	failed, excess, strange virtio.RateLimit
}

// New returns a console of unknown size, which is 0 columns by 0 rows.
func New(c Config) *Device {
	d := &Device{out: c.Out, log: c.Log, resized: make(chan struct{}, 1), input: newInput()}
	d.control.wake = make(chan struct{}, 1)
	if d.out == nil {
		d.out = io.Discard
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.DeviceType { return virtio.TypeConsole }

// Features implements virtio.Device.
func (d *Device) Features() uint64 { return featureSize | featureMultiport | featureEmergencyWrite }

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	return []uint16{receiveQueueSize, transmitQueueSize, controlQueueSize, controlQueueSize}
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) {
	var c [configSize]byte
	d.sizeMu.Lock()
	binary.LittleEndian.PutUint16(c[configCols:], d.cols)
	binary.LittleEndian.PutUint16(c[configRows:], d.rows)
	d.sizeMu.Unlock()
	binary.LittleEndian.PutUint32(c[configMaxPorts:], maxPorts)
	virtio.ReadConfig(c[:], off, p)
}

// WriteConfig implements virtio.ConfigWriter: the lower byte of emerg_wr is printed, whether or not there is a driver
// (5.3.5). It blocks as long as Out does.
func (d *Device) WriteConfig(off uint64, p []byte) {
	if off > configEmergencyWrite || configEmergencyWrite-off >= uint64(len(p)) {
		return
	}
	d.outMu.Lock()
	defer d.outMu.Unlock()
	d.single[0] = p[configEmergencyWrite-off]
	d.write(d.single[:])
}

// Resize tells the guest the size of the terminal, in characters. It may be called at any time, and does nothing if the
// size is the same.
func (d *Device) Resize(cols, rows uint16) {
	d.sizeMu.Lock()
	defer d.sizeMu.Unlock()
	if d.cols == cols && d.rows == rows {
		return
	}
	d.cols, d.rows = cols, rows
	signal(d.resized)
}

// Size returns the size that the guest reads.
func (d *Device) Size() (cols, rows uint16) {
	d.sizeMu.Lock()
	defer d.sizeMu.Unlock()
	return d.cols, d.rows
}

const (
	// maxOutput bounds what is printed of one buffer: its descriptors may name the same memory again and again.
	// Linux prints 16 bytes in a buffer, other drivers up to some pages.
	maxOutput = 1 << 20

	// maxWrite bounds one Write.
	maxWrite = 32 << 10
)

// print writes the segments to the host, in order.
func (d *Device) print(segments [][]byte) {
	left := maxOutput
	for _, s := range segments {
		if len(s) > left {
			s = s[:left]
			if n, ok := d.excess.Allow(time.Now()); ok {
				d.log.Warn("virtio console: the guest prints too much at once", "limit", maxOutput, "suppressed", n)
			}
		}
		left -= len(s)
		for len(s) > 0 {
			n := min(len(s), maxWrite)
			d.printPiece(s[:n])
			s = s[n:]
		}
	}
}

func (d *Device) printPiece(p []byte) {
	d.outMu.Lock()
	defer d.outMu.Unlock()
	d.write(p)
}

// write calls Out. It is called with outMu held.
func (d *Device) write(p []byte) {
	if _, err := d.out.Write(p); err != nil {
		if n, ok := d.failed.Allow(time.Now()); ok {
			d.log.Error("virtio console: output lost", "err", err, "suppressed", n)
		}
	}
}

// signal puts a token into c unless it has one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
