// Package i8042 models the keyboard controller of a PC with no keyboard and no
// mouse plugged in, as chapter "Keyboard and Auxiliary Device Controller" of
// IBM's PS/2 Hardware Interface Technical Reference describes it. It is there
// for its reset line, which is how many kernels restart a PC, and answers
// enough of the rest that a driver which probes for devices finds none and
// goes on.
//
// It leaves out interrupts, scan code translation, passwords and the A20 gate,
// whose bit is accepted while the line stays enabled. Commands complete at
// once: the input buffer is never full.
//
// All accesses are the guest's. The state is a fixed few bytes.
package i8042

import "sync"

// Ports is the size of the region that a Controller is the handler of: ports
// 0x60 to 0x64. The controller has the first and the last of them. The others
// belong to nobody here, read as all ones and ignore writes.
const Ports = 5

// Offsets of the controller's two ports.
const (
	offData    = 0 // 0x60
	offCommand = 4 // 0x64: status when read
)

// Status register, port 0x64.
const (
	statusOutputFull = 1 << 0 // a byte waits at port 0x60
	statusSystem     = 1 << 2 // copy of the configuration byte's bit
	statusCommand    = 1 << 3 // the last write was to port 0x64
	statusUnlocked   = 1 << 4 // the keyboard lock is open
	statusAuxData    = 1 << 5 // the byte at port 0x60 is the mouse's
	statusTimeout    = 1 << 6 // no answer from the device
)

// Commands, port 0x64.
const (
	cmdReadRAM       = 0x20 // to 0x3f: read byte 0 to 31 of the RAM
	cmdWriteRAM      = 0x60 // to 0x7f: the next byte goes there
	cmdDisableAux    = 0xa7
	cmdEnableAux     = 0xa8
	cmdTestAux       = 0xa9
	cmdSelfTest      = 0xaa
	cmdTestKeyboard  = 0xab
	cmdDisableKbd    = 0xad
	cmdEnableKbd     = 0xae
	cmdReadInput     = 0xc0
	cmdReadOutput    = 0xd0
	cmdWriteOutput   = 0xd1 // the next byte goes to the output port
	cmdWriteKbdData  = 0xd2 // the next byte comes back as the keyboard's
	cmdWriteAuxData  = 0xd3 // the next byte comes back as the mouse's
	cmdWriteAux      = 0xd4 // the next byte goes to the mouse
	cmdPulse         = 0xf0 // to 0xff: pulse the output lines whose bit is 0
	cmdRangeMask     = 0xe0 // of the two RAM ranges
	cmdPulseMask     = 0xf0
	ramSize          = 32
	configAddress    = 0 // of the configuration byte in the RAM
	configSystem     = 1 << 2
	configDisableKbd = 1 << 4
	configDisableAux = 1 << 5
)

// Answers.
const (
	selfTestOK  = 0x55
	kbdLineOK   = 0x00
	auxClockLow = 0x01 // the mouse's clock line is stuck: there is none
	resend      = 0xfe // what the controller says for a device that does not
	inputPort   = 0x80 // keyboard lock open
)

// Output port bits. The rest are the two devices' lines.
const (
	outputNotReset = 1 << 0 // low resets the processor
	outputA20      = 1 << 1
	outputIdle     = outputNotReset | outputA20
)

// A Controller is a keyboard controller. It is a devices.Handler for a region
// of Ports addresses from port 0x60 on, and its methods may be called from any
// goroutine.
type Controller struct {
	reset func()

	mu sync.Mutex
	state
}

// state is the controller's whole state.
type state struct {
	ram     [ramSize]byte
	output  byte // what port 0x60 reads
	status  byte // without the bits that are computed
	pending byte // the command that waits for its data byte, or 0
}

// New returns a controller as it is after power-on. It calls reset each time
// the guest pulls the processor's reset line, on the vCPU thread and with no
// lock held. reset may be nil.
func New(reset func()) *Controller {
	c := &Controller{reset: reset}
	c.ram[configAddress] = configDisableKbd | configDisableAux
	return c
}

// Read answers a guest's read. Only the first byte of a wide access is the
// controller's: the chip has eight data lines and its ports no neighbours.
func (c *Controller) Read(off uint64, p []byte) {
	for i := range p {
		p[i] = 0xff
	}
	if len(p) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch off {
	case offData:
		// The buffer keeps its byte; only the status says that it is old.
		c.status &^= statusOutputFull | statusAuxData | statusTimeout
		p[0] = c.output
	case offCommand:
		p[0] = c.readStatus()
	}
}

// Write takes a guest's write, of which the first byte counts as in Read.
func (c *Controller) Write(off uint64, p []byte) {
	if len(p) == 0 {
		return
	}
	reset := false
	c.mu.Lock()
	switch off {
	case offData:
		reset = c.data(p[0])
	case offCommand:
		reset = c.command(p[0])
	}
	c.mu.Unlock()
	if reset && c.reset != nil {
		c.reset()
	}
}

func (s *state) readStatus() byte {
	v := s.status | statusUnlocked
	if s.ram[configAddress]&configSystem != 0 {
		v |= statusSystem
	}
	return v
}

// answer puts v where port 0x60 reads it. An answer that nobody read before
// is gone.
func (s *state) answer(v, flags byte) {
	s.output = v
	s.status &^= statusAuxData | statusTimeout
	s.status |= statusOutputFull | flags
}

// command performs a write to port 0x64 and reports whether it resets.
func (s *state) command(v byte) (reset bool) {
	s.status |= statusCommand
	s.pending = 0
	switch v & cmdRangeMask {
	case cmdReadRAM:
		s.answer(s.ram[v%ramSize], 0)
		return false
	case cmdWriteRAM:
		s.pending = v
		return false
	}
	if v&cmdPulseMask == cmdPulse {
		return v&outputNotReset == 0
	}
	switch v {
	case cmdDisableAux:
		s.ram[configAddress] |= configDisableAux
	case cmdEnableAux:
		s.ram[configAddress] &^= configDisableAux
	case cmdTestAux:
		s.answer(auxClockLow, 0)
	case cmdSelfTest:
		s.ram[configAddress] |= configSystem
		s.answer(selfTestOK, 0)
	case cmdTestKeyboard:
		s.answer(kbdLineOK, 0)
	case cmdDisableKbd:
		s.ram[configAddress] |= configDisableKbd
	case cmdEnableKbd:
		s.ram[configAddress] &^= configDisableKbd
	case cmdReadInput:
		s.answer(inputPort, 0)
	case cmdReadOutput:
		s.answer(outputIdle, 0)
	case cmdWriteOutput, cmdWriteKbdData, cmdWriteAuxData, cmdWriteAux:
		s.pending = v
	}
	return false
}

// data performs a write to port 0x60 and reports whether it resets.
func (s *state) data(v byte) (reset bool) {
	s.status &^= statusCommand
	cmd := s.pending
	s.pending = 0
	if cmd&cmdRangeMask == cmdWriteRAM {
		s.ram[cmd%ramSize] = v
		return false
	}
	switch cmd {
	case cmdWriteOutput:
		return v&outputNotReset == 0
	case cmdWriteKbdData, cmdWriteAuxData:
		// Without the flag for the mouse: a controller that has no port for
		// one does not know it, and that is how Linux tells.
		s.answer(v, 0)
	case cmdWriteAux:
		s.answer(resend, statusTimeout|statusAuxData)
	default:
		// A byte for the keyboard, which is not there to take it.
		s.answer(resend, statusTimeout)
	}
	return false
}
