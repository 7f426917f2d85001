package serial

import (
	"strings"
	"testing"
)

// The test in this file makes the register accesses that FreeBSD's driver makes
// in sys/dev/uart/uart_dev_ns8250.c, in the same order.

// clearInterrupt is ns8250_clrint. It fails the test if the interrupt's causes
// never end.
func (h *hasty) clearInterrupt(t *testing.T) {
	t.Helper()
	for range 100 {
		switch iir := cause(h.in(offIIR) & 0x0f); iir {
		case iirNone:
			return
		case iirLine:
			h.in(offLSR)
		case iirReceived, iirTimeout:
			h.in(offData)
		case iirModem:
			h.in(offMSR)
		}
	}
	t.Error("the interrupt cannot be cleared")
}

// probeNS8250 is ns8250_bus_probe. It returns the FIFO's size as the driver
// finds it: in loopback it sends until LSR reports an overrun.
func (h *hasty) probeNS8250(t *testing.T) int {
	t.Helper()
	if iir, mcr := h.in(offIIR), h.in(offMCR); iir&0x30 != 0 || mcr&0xa0 != 0 {
		t.Errorf("probe: IIR %#x and MCR %#x have bits that no 16550 has", iir, mcr)
	}
	h.set(offLCR, lcrDLAB|0x03)
	h.set(offData, 1)
	h.set(offIER, 0)
	h.set(offLCR, 0x03)
	h.set(offIER, h.in(offIER)&0xe0)
	h.set(offFCR, 0)
	h.set(offMCR, mcrOut2|mcrRTS|mcrDTR)
	h.clearInterrupt(t)

	h.set(offMCR, mcrLoop|mcrOut2|mcrRTS|mcrDTR)
	h.set(offFCR, fcrEnable)
	if h.in(offIIR)&iirFIFOs == 0 {
		t.Error("probe: no FIFOs")
	}
	h.set(offFCR, fcrEnable|fcrClearReceive|1<<2)
	for h.in(offLSR)&lsrDataReady != 0 {
		h.in(offData)
	}
	sent := 0
	for overrun := false; !overrun && sent < 260; sent++ {
		h.set(offData, 0)
		lsr := h.in(offLSR)
		if lsr&lsrTEMT == 0 {
			t.Fatal("probe: the transmitter is stuck in loopback")
		}
		overrun = lsr&lsrOverrun != 0
	}
	h.set(offMCR, mcrOut2)
	h.set(offFCR, fcrEnable|fcrClearReceive|1<<2)
	return sent - 1
}

// attachNS8250 is ns8250_bus_attach, which begins to listen.
func (h *hasty) attachNS8250(t *testing.T) {
	t.Helper()
	const fcr = fcrEnable | 2<<fcrTriggerShift
	h.set(offFCR, fcr)
	h.set(offFCR, fcrEnable|fcrClearReceive|1<<2)
	h.set(offFCR, fcr)
	h.in(offMSR)
	h.clearInterrupt(t)
	h.set(offIER, ierReceived|ierLine|ierModem)
}

// transmitNS8250 is ns8250_bus_transmit and the interrupt that follows it.
func (h *hasty) transmitNS8250(t *testing.T, s string) {
	t.Helper()
	if h.in(offLSR)&lsrTEMT == 0 {
		t.Error("transmit: the transmitter is busy")
	}
	for _, c := range []byte(s) {
		h.set(offData, c)
	}
	h.edges()
	h.set(offIER, ierReceived|ierLine|ierModem|ierTHRE)
	if h.edges() == 0 || cause(h.in(offIIR)&0x0f) != iirTHRE {
		t.Error("transmit: no interrupt when the bytes have left")
	}
	h.set(offIER, ierReceived|ierLine|ierModem)
}

// TestFreeBSDDriver takes the UART from the probe to the first lines in both
// directions. What was typed before the probe reaches the attached driver.
func TestFreeBSDDriver(t *testing.T) {
	h := &hasty{port: newPort()}
	h.feed(t, "root\n")
	if n := h.probeNS8250(t); n != fifoSize {
		t.Errorf("probe: the FIFO has %d bytes", n)
	}
	h.attachNS8250(t)
	if got := h.drain(); got != "root\n" {
		t.Errorf("the driver received %q", got)
	}
	h.transmitNS8250(t, "Password:")

	h.rest = strings.Repeat("echo hello\n", 20)
	want := h.rest
	h.edges()
	h.fill()
	if h.edges() == 0 {
		t.Error("receive: no interrupt")
	}
	var got strings.Builder
	for h.in(offLSR)&lsrDataReady != 0 { // ns8250_bus_receive
		got.WriteByte(h.in(offData))
	}
	if got.String() != want {
		t.Errorf("receive: the driver received %q", got.String())
	}
	if got := h.out.String(); got != "Password:" {
		t.Errorf("the host received %q", got)
	}
}
