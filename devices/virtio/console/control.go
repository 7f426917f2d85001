package console

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"govmm/devices/virtio"
)

// Events of control messages (5.3.6.2). VIRTIO_CONSOLE_PORT_REMOVE and VIRTIO_CONSOLE_PORT_NAME are not used: the port
// is there always, and has no name.
const (
	eventDeviceReady uint16 = 0 // VIRTIO_CONSOLE_DEVICE_READY, of the driver
	eventPortAdd     uint16 = 1 // VIRTIO_CONSOLE_PORT_ADD, of the device
	eventPortReady   uint16 = 3 // VIRTIO_CONSOLE_PORT_READY, of the driver
	eventConsolePort uint16 = 4 // VIRTIO_CONSOLE_CONSOLE_PORT, of the device
	eventResize      uint16 = 5 // VIRTIO_CONSOLE_RESIZE, of the device
	eventPortOpen    uint16 = 6 // VIRTIO_CONSOLE_PORT_OPEN, of both
)

const (
	controlSize = 8 // struct virtio_console_control (5.3.6.2)
	resizeSize  = 4 // struct virtio_console_resize, which follows it
)

// A controlMessage is a struct virtio_console_control.
type controlMessage struct {
	port         uint32
	event, value uint16
}

// parseControl reads a message of the driver, of any bytes. What follows the structure is ignored.
func parseControl(p []byte) (controlMessage, error) {
	if len(p) < controlSize {
		return controlMessage{}, fmt.Errorf("control message of %d bytes", len(p))
	}
	return controlMessage{
		port:  binary.LittleEndian.Uint32(p),
		event: binary.LittleEndian.Uint16(p[4:]),
		value: binary.LittleEndian.Uint16(p[6:]),
	}, nil
}

// put writes the message to p, which has room for it.
func (m controlMessage) put(p []byte) {
	binary.LittleEndian.PutUint32(p, m.port)
	binary.LittleEndian.PutUint16(p[4:], m.event)
	binary.LittleEndian.PutUint16(p[6:], m.value)
}

// messages is a set of messages that the driver is to be sent, each about port 0. The lowest bit goes first: Linux
// ignores the size of a port that it does not know to be a console. A set bounds what waits for a driver
// that takes no messages; of two sizes it needs only the last.
type messages uint8

const (
	sendPortAdd messages = 1 << iota
	sendConsolePort
	sendResize
	sendPortOpen

	allMessages     = sendPortAdd | sendConsolePort | sendResize | sendPortOpen
	aboutReadyPorts = allMessages &^ sendPortAdd
)

// A handshake is how far driver and device have come with the port (5.3.6.2).
type handshake struct {
	ready   bool // the driver has the port
	open    bool // it takes input
	pending messages
}

// valid reports whether there can be such a handshake.
func (h handshake) valid() bool {
	return h.pending&^allMessages == 0 && (h.ready || h.pending&aboutReadyPorts == 0)
}

// A control is the device's side of the control queues.
type control struct {
	wake chan struct{} // holds a token when messages may be pending

	mu sync.Mutex
	handshake
	session *virtio.Session // whose handshake it is
}

// begin starts or continues the handshake when the device runs, and reports whether the driver takes input.
func (c *control) begin(s *virtio.Session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != c.session && !s.Restored {
		c.handshake = handshake{}
	}
	c.session = s
	return c.open || s.Features&featureMultiport == 0
}

var (
	errDevice = errors.New("the driver could not set up the device")
	errPort   = errors.New("the driver could not set up the port")
)

// heard takes a message of the driver and reports whether the driver takes input after it. An error says what
// is wrong with the message or the driver.
func (c *control) heard(m controlMessage) (open bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.event == eventDeviceReady: // its port number means nothing
		// A driver that says so has no ports yet, whatever it said before.
		c.handshake = handshake{pending: sendPortAdd}
		if m.value == 0 {
			c.pending, err = 0, errDevice
		}
	case m.port != 0:
		err = fmt.Errorf("control message about port %d", m.port)
	case m.event == eventPortReady && m.value == 0:
		c.handshake, err = handshake{}, errPort
	case m.event == eventPortReady:
		// Without a message before it, too: Linux starts a driver so after hibernation.
		c.ready = true
		c.pending |= aboutReadyPorts
	case m.event == eventPortOpen:
		c.open = m.value != 0
	default:
		err = fmt.Errorf("control message of event %d", m.event)
	}
	signal(c.wake)
	return c.open, err
}

// resized makes the size of the terminal known to a driver that has the port. Others are told when they do.
func (c *control) resized() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready {
		c.pending |= sendResize
		signal(c.wake)
	}
}

// waiting reports whether messages wait for the driver.
func (c *control) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending != 0
}

// nextMessage writes the first message that waits to p, which is of controlSize+resizeSize bytes, and returns its length.
// It is 0 if no message waits. A message of more than room bytes goes on waiting, and its length is returned with false.
func (d *Device) nextMessage(p []byte, room uint64) (n int, fits bool) {
	c := &d.control
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.pending & -c.pending
	m := controlMessage{value: 1}
	n = controlSize
	switch first {
	case sendPortAdd:
		m.event = eventPortAdd
	case sendConsolePort:
		m.event = eventConsolePort
	case sendPortOpen:
		m.event = eventPortOpen
	case sendResize:
		m.event, m.value = eventResize, 0
		n += resizeSize
		// Older Linux kernels read rows before columns. Debian's 6.1.192 and 6.12.117 do as the specification says.
		cols, rows := d.Size()
		binary.LittleEndian.PutUint16(p[controlSize:], cols)
		binary.LittleEndian.PutUint16(p[controlSize+2:], rows)
	default:
		return 0, true
	}
	if uint64(n) > room {
		return n, false
	}
	m.put(p)
	c.pending &^= first
	return n, true
}
