package serial

// Register offsets (PC16550D table II). Two offsets have a second register
// behind the divisor latch access bit, and offset 2 is IIR when it is read
// and FCR when it is written.
const (
	offData = 0 // RBR when read, THR when written; DLL with DLAB
	offIER  = 1 // interrupt enable; DLM with DLAB
	offIIR  = 2 // interrupt identification
	offFCR  = 2 // FIFO control
	offLCR  = 3 // line control
	offMCR  = 4 // modem control
	offLSR  = 5 // line status
	offMSR  = 6 // modem status
	offSCR  = 7 // scratch
)

// Interrupt enable register (PC16550D section 8.5).
const (
	ierReceived = 1 << 0 // received data available, and timeout
	ierTHRE     = 1 << 1 // transmitter holding register empty
	ierLine     = 1 << 2 // receiver line status
	ierModem    = 1 << 3 // modem status
	ierMask     = 0x0f   // the other bits are always 0
)

// Interrupt identification register (PC16550D section 8.4, table IV).
const (
	iirModem    cause = 0x00
	iirNone     cause = 0x01
	iirTHRE     cause = 0x02
	iirReceived cause = 0x04
	iirLine     cause = 0x06
	iirTimeout  cause = 0x0c

	iirFIFOs = 0xc0 // both bits are set in FIFO mode
)

// A cause is an interrupt as the low four bits of IIR identify it.
type cause byte

// FIFO control register (PC16550D section 8.3).
const (
	fcrEnable       = 1 << 0
	fcrClearReceive = 1 << 1
	fcrTriggerShift = 6
)

// triggerLevels are the FIFO fill levels that FCR bits 6 and 7 choose from.
var triggerLevels = [4]int{1, 4, 8, 14}

// lcrDLAB is the divisor latch access bit (PC16550D section 8.1).
const lcrDLAB = 1 << 7

// Modem control register (PC16550D section 8.6).
const (
	mcrDTR  = 1 << 0
	mcrRTS  = 1 << 1
	mcrOut1 = 1 << 2
	mcrOut2 = 1 << 3
	mcrLoop = 1 << 4
	mcrMask = 0x1f // the other bits are always 0
)

// Line status register (PC16550D section 8.2).
const (
	lsrDataReady = 1 << 0
	lsrOverrun   = 1 << 1
	lsrTHRE      = 1 << 5 // transmitter holding register empty
	lsrTEMT      = 1 << 6 // shift register empty as well
)

// Modem status register (PC16550D section 8.7). The low half says what
// changed since the last read.
const (
	msrDeltaCTS = 1 << 0
	msrDeltaDSR = 1 << 1
	msrTrailRI  = 1 << 2 // the ring indicator went off
	msrDeltaDCD = 1 << 3
	msrCTS      = 1 << 4
	msrDSR      = 1 << 5
	msrRI       = 1 << 6
	msrDCD      = 1 << 7
)

// pollThreshold is the number of reads of LSR in a row beyond which a guest
// is taken to poll for input.
const pollThreshold = 16

// registers is the chip's whole state. Its methods do not lock and do not
// call out.
type registers struct {
	ier, lcr, mcr, scr byte
	dll, dlm           byte // divisor latch
	fifoMode           bool // FCR bit 0
	trigger            int  // receive FIFO trigger level, from FCR
	overrun            bool // LSR bit 1
	modemDelta         byte // the low half of MSR

	// input is what the host sent, and looped what the guest sent itself in
	// loopback mode. The guest sees one of them or neither: received says.
	input, looped fifo

	// sending counts the bytes on their way to the host, one for each vCPU
	// at most.
	sending int
	// threPending is the THRE interrupt, which has a memory of its own: to
	// read IIR resets it while the register stays empty.
	threPending bool

	polls   int  // reads of LSR in a row, up to pollThreshold+1
	polling bool // the guest listens because it polls

	// signalled is the cause that the last edge was for, or iirNone.
	signalled cause
}

// resetRegisters returns the state after a master reset (PC16550D table III).
func resetRegisters() registers {
	return registers{
		trigger:   triggerLevels[0],
		dll:       12, // 9600 baud from 1.8432 MHz; the data sheet leaves it open
		signalled: iirNone,
	}
}

func (r *registers) dlab() bool     { return r.lcr&lcrDLAB != 0 }
func (r *registers) loopback() bool { return r.mcr&mcrLoop != 0 }

// received returns the fifo that RBR reads from, or nil while the guest does
// not listen.
func (r *registers) received() *fifo {
	switch {
	case r.loopback():
		return &r.looped
	case r.ier&ierReceived != 0 || r.polling:
		return &r.input
	default:
		return nil
	}
}

// receivedLen returns the number of bytes that the guest can read.
func (r *registers) receivedLen() int {
	if f := r.received(); f != nil {
		return f.n
	}
	return 0
}

// readRegister performs a guest's read of one register.
func (r *registers) readRegister(off uint64) byte {
	switch off {
	case offData:
		if r.dlab() {
			return r.dll
		}
		return r.readData()
	case offIER:
		if r.dlab() {
			return r.dlm
		}
		return r.ier
	case offIIR:
		return r.readIIR()
	case offLCR:
		return r.lcr
	case offMCR:
		return r.mcr
	case offLSR:
		return r.readLSR()
	case offMSR:
		v := r.modemLines() | r.modemDelta
		r.modemDelta = 0
		return v
	case offSCR:
		return r.scr
	default:
		return 0xff
	}
}

// writeRegister performs a guest's write of one register. It returns true
// when v is to go out on the line; the caller must call sent when it has.
func (r *registers) writeRegister(off uint64, v byte) (send bool) {
	switch off {
	case offData:
		if r.dlab() {
			r.dll = v
			return false
		}
		return r.writeData(v)
	case offIER:
		if r.dlab() {
			r.dlm = v
			return false
		}
		r.writeIER(v)
	case offFCR:
		r.writeFCR(v)
	case offLCR:
		r.lcr = v
	case offMCR:
		r.writeMCR(v)
	case offLSR, offMSR:
		// Writes are for the factory's tests (PC16550D section 8.2).
	case offSCR:
		r.scr = v
	}
	return false
}

func (r *registers) readData() byte {
	r.polls = 0
	f := r.received()
	if f == nil || f.n == 0 {
		return 0
	}
	v := f.pop()
	if r.signalled == iirReceived || r.signalled == iirTimeout {
		// What is left raises the interrupt anew.
		r.signalled = iirNone
	}
	return v
}

// writeData performs a write to the transmitter holding register.
func (r *registers) writeData(v byte) (send bool) {
	r.polls = 0
	r.threPending = false
	if r.signalled == iirTHRE {
		r.signalled = iirNone
	}
	if !r.loopback() {
		r.sending++
		return true
	}
	room := fifoSize
	if !r.fifoMode {
		room = 1
	}
	if r.looped.n < room {
		r.looped.push([]byte{v})
	} else {
		r.overrun = true
	}
	r.transmitterEmpty()
	return false
}

// sent ends what a writeRegister that returned true began.
func (r *registers) sent() {
	r.sending--
	r.transmitterEmpty()
}

// transmitterEmpty raises the THRE interrupt if there is nothing to send.
func (r *registers) transmitterEmpty() {
	if r.sending == 0 {
		r.threPending = true
	}
}

func (r *registers) writeIER(v byte) {
	enabled := v &^ r.ier
	r.ier = v & ierMask
	r.polls, r.polling = 0, false
	if enabled&ierTHRE != 0 {
		// An empty transmitter interrupts when that is enabled, even if the
		// guest knew it to be empty. Drivers start to send in this way, and
		// Linux tests for it.
		r.transmitterEmpty()
	}
}

func (r *registers) writeFCR(v byte) {
	fifoMode := v&fcrEnable != 0
	r.trigger = triggerLevels[0]
	if fifoMode {
		// The other bits count only together with this one.
		r.trigger = triggerLevels[v>>fcrTriggerShift]
		if f := r.received(); f != nil && v&fcrClearReceive != 0 {
			f.clear()
		}
	}
	if fifoMode != r.fifoMode {
		r.looped.clear()
	}
	r.fifoMode = fifoMode
	r.polls, r.polling = 0, false
}

func (r *registers) writeMCR(v byte) {
	before := r.modemLines()
	r.mcr = v & mcrMask
	after := r.modemLines()

	// The change bits lie four below those of the lines.
	changed := before ^ after
	r.modemDelta |= changed >> 4 & (msrDeltaCTS | msrDeltaDSR | msrDeltaDCD)
	r.modemDelta |= before &^ after >> 4 & msrTrailRI

	if !r.loopback() {
		// What the guest has sent itself never was on the line.
		r.looped.clear()
	}
}

// modemLines returns the high half of MSR.
func (r *registers) modemLines() byte {
	if !r.loopback() {
		return msrDCD | msrDSR | msrCTS
	}
	var v byte
	if r.mcr&mcrRTS != 0 {
		v |= msrCTS
	}
	if r.mcr&mcrDTR != 0 {
		v |= msrDSR
	}
	if r.mcr&mcrOut1 != 0 {
		v |= msrRI
	}
	if r.mcr&mcrOut2 != 0 {
		v |= msrDCD
	}
	return v
}

func (r *registers) readLSR() byte {
	// A guest that waits for the transmitter does not poll for input.
	if r.sending == 0 && r.polls <= pollThreshold {
		r.polls++
		r.polling = r.polling || r.polls > pollThreshold
	}
	var v byte
	if r.receivedLen() > 0 {
		v |= lsrDataReady
	}
	if r.overrun {
		v |= lsrOverrun
		r.overrun = false
	}
	if r.sending == 0 {
		v |= lsrTHRE | lsrTEMT
	}
	return v
}

func (r *registers) readIIR() byte {
	c := r.cause()
	if c == iirTHRE {
		r.threPending = false
	}
	if r.fifoMode {
		return byte(c) | iirFIFOs
	}
	return byte(c)
}

// cause returns the pending enabled interrupt of the highest priority
// (PC16550D table IV).
func (r *registers) cause() cause {
	received := r.receivedLen()
	switch {
	case r.ier&ierLine != 0 && r.overrun:
		return iirLine
	case r.ier&ierReceived != 0 && received >= r.trigger:
		return iirReceived
	case r.ier&ierReceived != 0 && received > 0:
		return iirTimeout
	case r.ier&ierTHRE != 0 && r.threPending:
		return iirTHRE
	case r.ier&ierModem != 0 && r.modemDelta != 0:
		return iirModem
	default:
		return iirNone
	}
}

// updateInterrupt is called after every change and reports whether it calls
// for an edge.
func (r *registers) updateInterrupt() (edge bool) {
	c := r.cause()
	edge = c != r.signalled && c != iirNone
	r.signalled = c
	return edge
}
