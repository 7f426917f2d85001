package serial

import (
	"strings"
	"testing"
)

// The tests in this file make the register accesses that Linux's driver makes
// in drivers/tty/serial/8250/8250_port.c, in the same order. A host types all
// the while.

// A hasty host keeps the FIFO full: a byte is there the moment that the guest
// could take it.
type hasty struct {
	port
	rest string
}

func (h *hasty) set(off uint64, v byte) {
	h.port.set(off, v)
	h.fill()
}

func (h *hasty) in(off uint64) byte {
	v := h.port.in(off)
	h.fill()
	return v
}

func (h *hasty) fill() { h.rest = h.rest[h.receive([]byte(h.rest)):] }

// clearFIFOs is serial8250_clear_fifos.
func (h *hasty) clearFIFOs() {
	h.set(offFCR, fcrEnable)
	h.set(offFCR, fcrEnable|fcrClearReceive|1<<2)
	h.set(offFCR, 0)
}

// clearInterrupts reads what startup reads to clear interrupts.
func (h *hasty) clearInterrupts() {
	for _, off := range []uint64{offLSR, offData, offIIR, offMSR} {
		h.in(off)
	}
}

// autoconfig asks the questions of autoconfig and autoconfig_16550a, and
// fails unless the answers are those of a 16550A.
func (h *hasty) autoconfig(t *testing.T) {
	t.Helper()
	expect := func(what string, got, want byte) {
		t.Helper()
		if got != want {
			t.Errorf("autoconfig: %s is %#x, want %#x", what, got, want)
		}
	}
	ier := h.in(offIER)
	h.set(offIER, 0)
	expect("IER of 0", h.in(offIER), 0)
	h.set(offIER, 0x0f) // enables received data for a moment
	expect("IER of 0x0f", h.in(offIER), 0x0f)
	h.set(offIER, ier)

	mcr, lcr := h.in(offMCR), h.in(offLCR)
	h.set(offMCR, mcrLoop|mcrOut2|mcrRTS)
	expect("MSR in loopback", h.in(offMSR)&0xf0, msrDCD|msrCTS)
	h.set(offMCR, mcr)

	h.set(offLCR, 0xbf) // an EFR, if there is one, is at FCR's place
	h.set(offFCR, 0)
	h.set(offLCR, 0)
	h.set(offFCR, fcrEnable)
	expect("IIR in FIFO mode", h.in(offIIR)>>6, 3)

	for _, v := range []byte{lcrDLAB, 0xbf} {
		h.set(offLCR, v)
		if h.in(offIIR) == 0 {
			t.Errorf("autoconfig: there is an EFR with LCR %#x", v)
		}
	}
	// A National Semiconductor chip shows MCR in another bank.
	h.set(offLCR, 0)
	h.set(offMCR, mcr^mcrLoop)
	h.set(offLCR, 0xe0)
	expect("the loopback bit in bank 2", h.in(offIIR)&mcrLoop, mcr&mcrLoop)
	h.set(offLCR, 0)
	h.set(offMCR, mcr)
	// A TI16750 has 64 bytes with DLAB, clones without.
	for _, v := range []byte{0, lcrDLAB} {
		h.set(offLCR, v)
		h.set(offFCR, fcrEnable|1<<5)
		expect("IIR in 64-byte mode", h.in(offIIR)>>5, 6)
		h.set(offFCR, fcrEnable)
	}
	h.set(offLCR, 0)
	h.set(offIER, ier|1<<6) // an XScale's UART enable
	expect("IER of 1<<6", h.in(offIER)&(1<<6), 0)
	h.set(offIER, ier)
	expect("the FIFO's size", h.sizeFIFO(), 16)

	h.set(offLCR, lcr)
	h.set(offMCR, mcr)
	h.clearFIFOs()
	h.in(offData)
	h.set(offIER, 0)
}

// sizeFIFO is size_fifo: it counts how much of 256 bytes is left in loopback.
func (h *hasty) sizeFIFO() byte {
	lcr := h.in(offLCR)
	h.set(offLCR, 0)
	fcr, mcr := h.in(offIIR), h.in(offMCR)
	h.set(offFCR, fcrEnable|fcrClearReceive|1<<2)
	h.set(offMCR, mcrLoop)
	h.set(offLCR, 0x03)
	for _, b := range everyByte() {
		h.set(offData, b)
	}
	count := 0
	for ; count < 256 && h.in(offLSR)&lsrDataReady != 0; count++ {
		h.in(offData)
	}
	h.set(offFCR, fcr)
	h.set(offMCR, mcr)
	h.set(offLCR, lcr)
	return byte(count)
}

// startup is serial8250_do_startup with the two tests of the transmitter's
// interrupt, and serial8250_do_set_termios, which begins to listen.
func (h *hasty) startup(t *testing.T) {
	t.Helper()
	h.clearFIFOs()
	h.clearInterrupts()
	if h.in(offLSR) == 0xff {
		t.Error("startup: no UART")
	}
	// UART_BUG_THRE: not raised again for an idle transmitter.
	for range 2 {
		h.set(offIER, ierTHRE)
		if h.in(offIIR)&byte(iirNone) != 0 {
			t.Error("startup: THRE is not raised again when it is enabled")
		}
		h.set(offIER, 0)
	}
	h.set(offLCR, 0x03)
	h.set(offMCR, mcrOut2|mcrRTS|mcrDTR)
	// UART_BUG_TXEN: not raised at all.
	h.set(offIER, ierTHRE)
	if lsr, iir := h.in(offLSR), h.in(offIIR); lsr&lsrTEMT != 0 && iir&byte(iirNone) != 0 {
		t.Error("startup: no interrupt from an idle transmitter")
	}
	h.set(offIER, 0)
	h.clearInterrupts()

	h.set(offIER, ierLine|ierReceived)
	h.set(offLCR, lcrDLAB|0x03)
	h.set(offData, 1)
	h.set(offIER, 0)
	h.set(offLCR, 0x03)
	h.set(offFCR, fcrEnable)
	h.set(offFCR, 0x81)
	h.set(offMCR, mcrOut2|mcrRTS|mcrDTR)
}

// shutdown is serial8250_do_shutdown.
func (h *hasty) shutdown() {
	h.set(offIER, 0)
	h.set(offMCR, mcrRTS|mcrDTR)
	h.set(offLCR, 0x03)
	h.clearFIFOs()
	h.in(offData)
}

// console is serial8250_console_write, which turns interrupts off and on.
func (h *hasty) console(s string) {
	ier := h.in(offIER)
	h.set(offIER, 0)
	for _, c := range []byte(s) {
		for h.in(offLSR)&lsrTHRE == 0 {
		}
		h.set(offData, c)
	}
	for h.in(offLSR)&lsrTEMT == 0 {
	}
	h.set(offIER, ier)
}

// TestLinuxDriver takes the UART through the driver's life. Every byte that
// the host typed from the very start reaches the driver's interrupt handler.
func TestLinuxDriver(t *testing.T) {
	input := strings.Repeat("echo hello\n", 20)
	h := &hasty{port: newPort(), rest: input}
	h.fill()
	h.console("earlycon\n")
	h.autoconfig(t)
	h.console("a serial port\n")
	h.startup(t)
	var got strings.Builder
	for i := 0; got.Len() < len(input)/2; i++ {
		if h.in(offIIR)&byte(iirNone) != 0 {
			t.Fatalf("no interrupt with %d bytes received", got.Len())
		}
		for range 5 {
			if h.in(offLSR)&lsrDataReady == 0 {
				t.Fatalf("no data with %d bytes received", got.Len())
			}
			got.WriteByte(h.in(offData))
		}
		h.console("printk\n")
		if i%3 == 0 { // the last program closes its terminal, the next opens it
			h.shutdown()
			h.startup(t)
		}
	}
	for h.in(offLSR)&lsrDataReady != 0 {
		got.WriteByte(h.in(offData))
	}
	if got.String() != input {
		t.Errorf("the driver received %q", got.String())
	}
	if out := h.out.String(); !strings.HasPrefix(out, "earlycon\na serial port\nprintk\n") {
		t.Errorf("the host received %q", out)
	}
}

// TestLinuxTransmit is serial8250_handle_irq sending a long line, as many bytes
// an interrupt as the FIFO holds.
func TestLinuxTransmit(t *testing.T) {
	p := newPort()
	p.set(offFCR, 0x81)
	p.set(offIER, ierReceived|ierLine)
	line := strings.Repeat("all work and no play\n", 20)
	rest := line
	p.set(offIER, ierReceived|ierLine|ierTHRE) // start_tx
	for rest != "" {
		if p.edges() == 0 {
			t.Fatalf("the interrupts ended with %d bytes to go", len(rest))
		}
		if got := p.in(offIIR); got != byte(iirTHRE|iirFIFOs) {
			t.Fatalf("IIR is %#x", got)
		}
		n := min(16, len(rest))
		for _, c := range []byte(rest[:n]) {
			p.set(offData, c)
		}
		rest = rest[n:]
	}
	p.set(offIER, ierReceived|ierLine) // stop_tx
	p.edges()
	if got := p.in(offIIR); got != byte(iirNone|iirFIFOs) {
		t.Errorf("IIR is %#x in the end", got)
	}
	if got := p.out.String(); got != line {
		t.Errorf("sent %q", got)
	}
}
