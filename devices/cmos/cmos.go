// Package cmos models the MC146818A real-time clock of a PC with its
// battery-backed memory, as Motorola's data sheet describes it, behind the
// index register at port 0x70 and the data register at port 0x71. Byte 0x32
// is the century, where the FADT can point a guest to.
//
// The chip starts out as a PC's firmware leaves it: BCD, 24 hours, UTC. The
// guest may choose binary and 12 hours, and may set the clock; the difference
// to the host's clock is what the chip remembers. The clock runs from
// Config.Now, and its seconds begin with the host's.
//
// It leaves out interrupts: the alarm, periodic and update-ended enable bits
// and the alarm time are storage, and status register C reads 0. Daylight
// saving and the divider bits have no effect. The memory sizes that firmware
// leaves in the NVRAM are not there.
//
// All accesses are the guest's. A time that does not exist, or is not BCD where
// it should be, is not taken.
package cmos

import (
	"sync"
	"time"
)

// Ports is the size of the region that a CMOS is the handler of.
const Ports = 2

// Offsets of the two ports.
const (
	offIndex = 0 // 0x70
	offData  = 1 // 0x71
)

// indexMask are the bits of the index register that choose a byte. The top one
// gates NMIs on a PC's board.
const indexMask = 0x7f

// Registers (MC146818A data sheet, "Address Map"; the century is a PC's).
const (
	regSeconds      = 0x00
	regSecondsAlarm = 0x01
	regMinutes      = 0x02
	regMinutesAlarm = 0x03
	regHours        = 0x04
	regHoursAlarm   = 0x05
	regDayOfWeek    = 0x06 // 1 is Sunday
	regDayOfMonth   = 0x07
	regMonth        = 0x08
	regYear         = 0x09 // of the century
	regA            = 0x0a
	regB            = 0x0b
	regC            = 0x0c
	regD            = 0x0d
	regCentury      = 0x32

	ramSize = 128
)

// Bits of the status registers (MC146818A data sheet, "Registers").
const (
	aUpdating = 1 << 7 // UIP: the time is about to change, or changes
	aDefault  = 0x26   // 32.768 kHz time base, 1.024 kHz periodic rate

	bSet    = 1 << 7 // SET: the clock stands still, to be written
	bBinary = 1 << 2 // DM: binary rather than BCD
	b24Hour = 1 << 1 // 24/12

	dValid = 0x80 // VRT: the battery is good

	hourPM = 1 << 7 // in regHours, with 12 hours
)

// updateWarning is how long before a change of the time UIP is set, so that a
// guest which finds it clear has that long to read the time (MC146818A data
// sheet, "Update Cycle": tBUC). The update itself takes no time here.
const updateWarning = 244 * time.Microsecond

// Config says where a CMOS gets its time.
type Config struct {
	// Now is the host's clock. It must go on: where it stands still, it may
	// do so while an update is in progress. It is called on vCPU threads, one
	// at a time. nil is time.Now.
	Now func() time.Time
}

// A CMOS is a real-time clock with NVRAM. It is a devices.Handler for a region
// of Ports addresses, and its methods may be called from any goroutine.
type CMOS struct {
	now func() time.Time

	mu sync.Mutex
	state
}

// state is the chip's whole state.
type state struct {
	index byte
	// ram holds the bytes as the guest wrote them. Those of the time count
	// only while bSet is set.
	ram [ramSize]byte
	// written says that the guest wrote a part of the time while bSet was
	// set.
	written bool
	// offset is how many seconds the guest's clock is ahead of the host's.
	// A time.Duration holds 292 years, too few for what a guest may set.
	offset int64
}

// New returns a clock that shows the host's time in UTC.
func New(c Config) *CMOS {
	m := &CMOS{now: c.Now}
	if m.now == nil {
		m.now = time.Now
	}
	m.ram[regA] = aDefault
	m.ram[regB] = b24Hour
	return m
}

// Read answers a guest's read. The index register cannot be read and gives all
// ones. A wider access is one to consecutive ports, lowest first.
func (m *CMOS) Read(off uint64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range p {
		p[i] = 0xff
		if off+uint64(i) == offData {
			p[i] = m.readByte()
		}
	}
}

// Write takes a guest's write. A wider access is split as in Read: a 16-bit
// write to port 0x70 chooses a byte and writes it.
func (m *CMOS) Write(off uint64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, v := range p {
		switch off + uint64(i) {
		case offIndex:
			m.index = v & indexMask
		case offData:
			m.writeByte(v)
		}
	}
}

// clock returns the guest's time.
func (m *CMOS) clock() time.Time {
	now := m.now()
	return time.Unix(now.Unix()+m.offset, int64(now.Nanosecond())).UTC()
}

// halted reports whether the guest holds the clock to set it.
func (s *state) halted() bool { return s.ram[regB]&bSet != 0 }

func (m *CMOS) readByte() byte {
	switch {
	case isTime(m.index) && !m.halted():
		return encode(m.clock(), m.index, m.ram[regB])
	case m.index == regA:
		v := m.ram[regA]
		if !m.halted() && m.now().Nanosecond() >= int(time.Second-updateWarning) {
			v |= aUpdating
		}
		return v
	case m.index == regC:
		return 0
	case m.index == regD:
		return dValid
	default:
		return m.ram[m.index]
	}
}

func (m *CMOS) writeByte(v byte) {
	switch {
	case isTime(m.index):
		m.writeTime(v)
	case m.index == regA:
		m.ram[regA] = v &^ aUpdating
	case m.index == regB:
		m.writeB(v)
	case m.index == regC, m.index == regD:
		// Read-only.
	default:
		m.ram[m.index] = v
	}
}

// writeTime changes one register of the time: of the one that the guest
// composes while the clock is halted, else of the running clock.
func (m *CMOS) writeTime(v byte) {
	if m.halted() {
		m.ram[m.index] = v
		m.written = true
		return
	}
	m.latch()
	m.ram[m.index] = v
	m.set()
}

func (m *CMOS) writeB(v byte) {
	wasHalted := m.halted()
	if !wasHalted && v&bSet != 0 {
		m.latch()
		m.written = false
	}
	m.ram[regB] = v
	if wasHalted && !m.halted() && m.written {
		// In the format that the guest has just chosen.
		m.set()
	}
}

// latch copies the running clock to the registers.
func (m *CMOS) latch() {
	t := m.clock()
	for _, reg := range timeRegisters {
		m.ram[reg] = encode(t, reg, m.ram[regB])
	}
}

// set makes the registers the time, if they are one.
func (m *CMOS) set() {
	if t, ok := decode(&m.ram); ok {
		m.offset = t.Unix() - m.now().Unix()
	}
}
