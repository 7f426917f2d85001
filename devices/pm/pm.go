// Package pm models the fixed hardware through which a guest's ACPI code turns
// a PC off and restarts it: the PM1a event and control registers of the ACPI
// specification, release 6.5, sections 4.8.3.1 and 4.8.3.2, with the fixed
// power button of section 4.8.2.2.1.1, and the reset control register of PC
// chipsets at port 0xcf9, which the FADT names as its RESET_REG (section
// 4.8.3.6).
//
// It leaves out the PM timer, sleep states other than S5, the SMI command port
// (the machine is in ACPI mode from the start, which the FADT says with an
// SMI_CMD of zero), PM1b, and all fixed events but the power button. Their
// enable bits are storage.
//
// All register accesses are the guest's.
package pm

import (
	"log/slog"
	"sync"

	"govmm/devices"
)

// Sizes in ports of the two register blocks: PM1_EVT_LEN and PM1_CNT_LEN in
// the FADT.
const (
	EventPorts   = 4
	ControlPorts = 2
)

// PM1 status and enable registers (ACPI 6.5, tables 4.11 and 4.12). The enable
// register has its bits where the status register has the events.
const (
	powerButton = 1 << 8 // PWRBTN_STS, PWRBTN_EN

	// enableMask are the enable bits that exist: TMR, GBL, PWRBTN, SLPBTN, RTC
	// and PCIEXP_WAKE_DIS.
	enableMask = 1<<0 | 1<<5 | powerButton | 1<<9 | 1<<10 | 1<<14
)

// PM1 control register (ACPI 6.5, table 4.13).
const (
	controlSCIEnable = 1 << 0 // SCI_EN
	controlBusMaster = 1 << 1 // BM_RLD
	sleepTypeShift   = 10     // SLP_TYP
	sleepTypeMask    = 7 << sleepTypeShift
	controlSleep     = 1 << 13 // SLP_EN, write-only

	// controlMask are the bits that keep what was written.
	controlMask = controlBusMaster | sleepTypeMask
)

// Config says what a PM1 is connected to. Its functions are called on the vCPU
// thread that made the access, with no lock held, and may be nil.
type Config struct {
	// SCI is the interrupt of ACPI events. The registers give one edge for
	// each enabled event, so the interrupt has to be described to the guest as
	// edge-triggered. nil is a line that is not connected.
	SCI devices.IRQ
	// S5SleepType is the value of SLP_TYP, 0 to 7, that means S5, as the \_S5
	// object in the DSDT says.
	S5SleepType uint8
	// PowerOff is called once, when the guest enters S5.
	PowerOff func()
	// Log gets the first failure of SCI. nil is silent.
	Log *slog.Logger
}

// PM1 is the PM1a register grouping. Event and Control give the handlers for
// its two blocks. Its methods may be called from any goroutine.
type PM1 struct {
	sci       devices.IRQ
	s5        uint16
	powerOff  func()
	log       *slog.Logger
	sciFailed sync.Once

	mu sync.Mutex
	state
}

// state is the registers.
type state struct {
	status  uint16
	enable  uint16
	control uint16 // without SCI_EN
	off     bool   // S5 was entered
}

// New returns a PM1 with no events pending or enabled.
func New(c Config) *PM1 {
	p := &PM1{
		sci:      c.SCI,
		s5:       uint16(c.S5SleepType) << sleepTypeShift & sleepTypeMask,
		powerOff: c.PowerOff,
		log:      c.Log,
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p
}

// PressPowerButton is what a hand on the case does: it makes the event pending
// and, when the guest has enabled it, raises the SCI. What the guest makes of
// it is the guest's choice.
func (p *PM1) PressPowerButton() {
	p.mu.Lock()
	before := p.raised()
	p.status |= powerButton
	edge := p.raised() &^ before
	p.mu.Unlock()
	if edge != 0 {
		p.trigger()
	}
}

// raised returns the events that hold the SCI up.
func (s *state) raised() uint16 { return s.status & s.enable }

func (p *PM1) trigger() {
	if p.sci == nil {
		return
	}
	if err := p.sci.Trigger(); err != nil {
		p.sciFailed.Do(func() {
			p.log.Error("pm: SCI lost; further losses are not logged", "err", err)
		})
	}
}

// Event returns the handler for the EventPorts ports of the event block.
func (p *PM1) Event() devices.Handler { return (*eventBlock)(p) }

// Control returns the handler for the ControlPorts ports of the control block.
func (p *PM1) Control() devices.Handler { return (*controlBlock)(p) }

// An eventBlock is the status register and, two ports on, the enable register.
// Both may be accessed a byte at a time.
type eventBlock PM1

func (b *eventBlock) Read(off uint64, p []byte) {
	b.mu.Lock()
	v := uint64(b.status) | uint64(b.enable)<<16
	b.mu.Unlock()
	readBytes(v, EventPorts, off, p)
}

func (b *eventBlock) Write(off uint64, p []byte) {
	v, mask := writtenBytes(EventPorts, off, p)
	b.mu.Lock()
	before := b.raised()
	b.status &^= uint16(v) // a bit that is written as one is cleared
	keep := ^uint16(mask >> 16)
	b.enable = (b.enable&keep | uint16(v>>16)) & enableMask
	edge := b.raised() &^ before
	b.mu.Unlock()
	if edge != 0 {
		(*PM1)(b).trigger()
	}
}

// A controlBlock is the control register.
type controlBlock PM1

func (b *controlBlock) Read(off uint64, p []byte) {
	b.mu.Lock()
	v := uint64(b.control | controlSCIEnable)
	b.mu.Unlock()
	readBytes(v, ControlPorts, off, p)
}

func (b *controlBlock) Write(off uint64, p []byte) {
	v, mask := writtenBytes(ControlPorts, off, p)
	b.mu.Lock()
	keep := ^uint16(mask)
	b.control = (b.control&keep | uint16(v)) & controlMask
	// SLP_TYP and SLP_EN are in one byte, but a guest may as well have written
	// the type before.
	sleep := v&controlSleep != 0 && b.control&sleepTypeMask == b.s5
	powerOff := sleep && !b.off
	b.off = b.off || sleep
	b.mu.Unlock()
	if powerOff && b.powerOff != nil {
		b.powerOff()
	}
}

// readBytes fills p with the bytes of the size-byte register v from off on,
// and with ones beyond its end.
func readBytes(v uint64, size, off uint64, p []byte) {
	for i := range p {
		p[i] = 0xff
		if at := off + uint64(i); at < size {
			p[i] = byte(v >> (8 * at))
		}
	}
}

// writtenBytes returns what a write of p at off gives a register of size
// bytes, and a mask of the bits that were written.
func writtenBytes(size, off uint64, p []byte) (v, mask uint64) {
	for i, b := range p {
		if at := off + uint64(i); at < size {
			v |= uint64(b) << (8 * at)
			mask |= 0xff << (8 * at)
		}
	}
	return v, mask
}
