package serial

import "testing"

// TestReset checks table III of the data sheet.
func TestReset(t *testing.T) {
	p := newPort()
	for _, tt := range []struct {
		name string
		off  uint64
		want byte
	}{
		{"RBR", offData, 0},
		{"IER", offIER, 0},
		{"IIR", offIIR, 0x01},
		{"LCR", offLCR, 0},
		{"MCR", offMCR, 0},
		{"LSR", offLSR, 0x60},
		{"MSR", offMSR, 0xb0},
		{"SCR", offSCR, 0},
	} {
		if got := p.in(tt.off); got != tt.want {
			t.Errorf("%s is %#x, want %#x", tt.name, got, tt.want)
		}
	}
	if got := p.edges(); got != 0 {
		t.Errorf("%d edges", got)
	}
}

func TestReadBack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lcr     byte
		off     uint64
		v, want byte
	}{
		{"IER", 0, offIER, 0xff, 0x0f},
		{"LCR", 0, offLCR, 0xff, 0xff},
		{"MCR", 0, offMCR, 0xff, 0x1f},
		{"LSR is read-only", 0, offLSR, 0xff, 0x60},
		{"MSR is read-only", 0, offMSR, 0xff, 0xb0},
		{"SCR", 0, offSCR, 0xa5, 0xa5},
		{"DLL", lcrDLAB, offData, 0x5a, 0x5a},
		{"DLM", lcrDLAB, offIER, 0xa5, 0xa5},
		{"16450 mode", 0, offFCR, 0, 0x01},
		{"FIFO mode", 0, offFCR, 0x01, 0xc1},
		{"FIFO bits without the first", 0, offFCR, 0xfe, 0x01},
		{"64-byte FIFO is not there", 0, offFCR, 0x21, 0xc1},
		{"nor with DLAB", lcrDLAB, offFCR, 0x21, 0xc1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPort()
			p.set(offLCR, tt.lcr)
			p.set(tt.off, tt.v)
			if got := p.in(tt.off); got != tt.want {
				t.Errorf("wrote %#x, read %#x, want %#x", tt.v, got, tt.want)
			}
		})
	}
}

func TestDivisorLatch(t *testing.T) {
	p := newPort()
	p.set(offIER, ierReceived)
	p.feed(t, "a")
	p.set(offLCR, lcrDLAB|0x03)
	p.set(offData, 0x34)
	p.set(offIER, 0x12)
	if lo, hi := p.in(offData), p.in(offIER); lo != 0x34 || hi != 0x12 {
		t.Errorf("divisor is %#x %#x", hi, lo)
	}
	p.set(offLCR, 0x03)
	if got := p.in(offIER); got != ierReceived {
		t.Errorf("IER is %#x", got)
	}
	if got := p.in(offData); got != 'a' {
		t.Errorf("RBR is %#x", got)
	}
	if p.out.Len() != 0 {
		t.Errorf("the divisor was sent: %q", p.out)
	}
}

func TestModemLinesInLoopback(t *testing.T) {
	for mcr := range byte(16) {
		p := newPort()
		p.set(offMCR, mcrLoop|mcr)
		var want byte
		for in, out := range map[byte]byte{
			mcrRTS: msrCTS, mcrDTR: msrDSR, mcrOut1: msrRI, mcrOut2: msrDCD,
		} {
			if mcr&in != 0 {
				want |= out
			}
		}
		if got := p.in(offMSR) & 0xf0; got != want {
			t.Errorf("MCR %#x: MSR is %#x, want %#x", mcr, got, want)
		}
	}
}

func TestModemDelta(t *testing.T) {
	p := newPort()
	all := byte(mcrLoop | mcrDTR | mcrRTS | mcrOut1 | mcrOut2)
	for _, step := range []struct {
		mcr, delta byte
	}{
		{all, 0},                       // the same lines, but for RI, whose rise does not count
		{all, 0},                       // nothing changes
		{all &^ mcrRTS, msrDeltaCTS},   // one falls
		{all, msrDeltaCTS},             // and rises
		{all &^ mcrOut1, msrTrailRI},   // RI falls
		{all, 0},                       // and rises
		{mcrLoop, 0x0f},                // all fall
		{0, 0x0b},                      // the modem's are back
		{mcrDTR | mcrRTS | mcrOut1, 0}, // outputs do not matter
	} {
		p.set(offMCR, step.mcr)
		if got := p.in(offMSR) & 0x0f; got != step.delta {
			t.Errorf("MCR %#x: delta is %#x, want %#x", step.mcr, got, step.delta)
		}
		if got := p.in(offMSR) & 0x0f; got != 0 {
			t.Errorf("MCR %#x: delta is %#x after it was read", step.mcr, got)
		}
	}
}

func TestLoopbackData(t *testing.T) {
	p := newPort()
	p.set(offFCR, fcrEnable)
	p.set(offMCR, mcrLoop)
	for _, b := range everyByte() {
		p.set(offData, b)
		if got := p.in(offLSR); got != lsrDataReady|lsrTHRE|lsrTEMT {
			t.Fatalf("LSR is %#x", got)
		}
		if got := p.in(offData); got != b {
			t.Fatalf("sent %#x, received %#x", b, got)
		}
	}
	if p.out.Len() != 0 {
		t.Errorf("%q went out", p.out)
	}
}

func TestLoopbackOverrun(t *testing.T) {
	for _, tt := range []struct {
		fcr  byte
		size int
	}{{0, 1}, {fcrEnable, 16}} {
		p := newPort()
		p.set(offFCR, tt.fcr)
		p.set(offMCR, mcrLoop)
		p.set(offIER, ierLine)
		for i := range tt.size {
			p.set(offData, byte(i))
			if p.overrun {
				t.Fatalf("overrun at byte %d of %d", i, tt.size)
			}
		}
		p.set(offData, 0xee)
		if got := p.in(offIIR) & 0x0f; got != byte(iirLine) {
			t.Errorf("IIR is %#x", got)
		}
		if got := p.in(offLSR); got != lsrDataReady|lsrOverrun|lsrTHRE|lsrTEMT {
			t.Errorf("LSR is %#x", got)
		}
		if got := p.in(offLSR); got&lsrOverrun != 0 {
			t.Error("LSR keeps the overrun after it was read")
		}
		if got := p.drain(); len(got) != tt.size || got[0] != 0 {
			t.Errorf("received %q", got)
		}
	}
}

// TestLoopbackKeepsInput: the host's bytes and the guest's own do not mix.
func TestLoopbackKeepsInput(t *testing.T) {
	p := newPort()
	p.set(offFCR, fcrEnable)
	p.set(offIER, ierReceived)
	p.feed(t, "ab")
	p.set(offMCR, mcrLoop)
	p.set(offData, 'x')
	p.feed(t, "cd")
	p.set(offFCR, fcrEnable|fcrClearReceive)
	p.set(offData, 'y')
	if got := p.in(offData); got != 'y' {
		t.Errorf("received %q in loopback", got)
	}
	p.set(offData, 'z') // never read
	p.set(offMCR, 0)
	if got := p.drain(); got != "abcd" {
		t.Errorf("received %q after loopback", got)
	}
	p.set(offMCR, mcrLoop)
	if got := p.drain(); got != "" {
		t.Errorf("received %q from the loopback before", got)
	}
}

func TestReadEmptyRBR(t *testing.T) {
	p := newPort()
	p.set(offIER, ierReceived)
	for range 3 {
		if got := p.in(offData); got != 0 {
			t.Errorf("RBR is %#x", got)
		}
	}
	p.feed(t, "a")
	if got := p.drain(); got != "a" {
		t.Errorf("received %q", got)
	}
}

func TestClearReceiveFIFO(t *testing.T) {
	for _, tt := range []struct {
		name string
		fcr  byte
		want string
	}{
		{"cleared", fcrEnable | fcrClearReceive, ""},
		{"transmit only", fcrEnable | 1<<2, "abc"},
		{"not programmed", fcrClearReceive, "abc"},
		{"mode change", 0, "abc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPort()
			p.set(offIER, ierReceived)
			p.set(offFCR, fcrEnable)
			p.feed(t, "abc")
			p.set(offFCR, tt.fcr)
			if got := p.drain(); got != tt.want {
				t.Errorf("received %q, want %q", got, tt.want)
			}
		})
	}
}
