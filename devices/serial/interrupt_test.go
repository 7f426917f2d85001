package serial

import (
	"strings"
	"testing"
)

// TestPriorities checks table IV of the data sheet: with everything pending,
// each interrupt hides the ones below it.
func TestPriorities(t *testing.T) {
	for _, tt := range []struct {
		ier  byte
		want cause
	}{
		{0x0f, iirLine}, {0x0b, iirReceived}, {0x0a, iirTHRE}, {0x08, iirModem}, {0x00, iirNone},
		{0x04, iirLine}, {0x01, iirReceived}, {0x02, iirTHRE},
		{0x0c, iirLine}, {0x09, iirReceived}, {0x03, iirReceived},
	} {
		p := newPort()
		p.set(offMCR, mcrLoop) // changes the modem lines
		p.set(offData, 'a')
		p.set(offData, 'b') // overruns
		p.edges()
		p.set(offIER, tt.ier)
		if got := cause(p.in(offIIR)); got != tt.want {
			t.Errorf("IER %#x: IIR is %#x, want %#x", tt.ier, got, tt.want)
		}
		want := int64(1)
		if tt.want == iirNone {
			want = 0
		} else if tt.want == iirTHRE && tt.ier&ierModem != 0 {
			want = 2 // to read IIR resets THRE, and the modem's comes next
		}
		if got := p.edges(); got != want {
			t.Errorf("IER %#x: %d edges, want %d", tt.ier, got, want)
		}
	}
}

// TestServeOneByOne serves everything that is pending a cause at a time, as a
// handler does that looks at IIR once for each interrupt. Each must come with
// an edge of its own.
func TestServeOneByOne(t *testing.T) {
	p := newPort()
	p.set(offMCR, mcrLoop)
	p.set(offData, 'a')
	p.set(offData, 'b')
	p.set(offIER, ierMask)
	for _, step := range []struct {
		cause cause
		serve uint64 // the register whose read does
	}{
		{iirLine, offLSR}, {iirReceived, offData}, {iirTHRE, offIIR}, {iirModem, offMSR},
	} {
		if got := p.edges(); got != 1 {
			t.Errorf("%d edges for cause %#x", got, step.cause)
		}
		if got := p.registers.cause(); got != step.cause {
			t.Fatalf("cause is %#x, want %#x", got, step.cause)
		}
		p.in(step.serve)
	}
	if got := p.in(offIIR); got != byte(iirNone) || p.edges() != 0 {
		t.Errorf("IIR is %#x in the end", got)
	}
}

func TestTriggerLevels(t *testing.T) {
	for bits, level := range []int{1, 4, 8, 14} {
		p := newPort()
		p.set(offFCR, fcrEnable|byte(bits)<<fcrTriggerShift)
		p.set(offIER, ierReceived)
		for n := 1; n <= fifoSize; n++ {
			p.feed(t, "x")
			want := byte(iirTimeout | iirFIFOs)
			if n >= level {
				want = byte(iirReceived | iirFIFOs)
			}
			if got := p.in(offIIR); got != want {
				t.Errorf("level %d, %d bytes: IIR is %#x, want %#x", level, n, got, want)
			}
		}
		if got, want := p.edges(), int64(2); level > 1 && got != want {
			t.Errorf("level %d: %d edges, want %d", level, got, want)
		}
	}
}

// TestOneByteEachInterrupt is a handler that reads one byte and returns, with
// the deepest trigger level, as many a hobby kernel has it.
func TestOneByteEachInterrupt(t *testing.T) {
	for _, fcr := range []byte{0, 0xc7} {
		p := newPort()
		p.set(offFCR, fcr)
		p.set(offIER, ierReceived)
		const input = "0123456789abcdef"
		p.feed(t, input)
		var got strings.Builder
		for p.edges() > 0 {
			got.WriteByte(p.in(offData))
		}
		if got.String() != input {
			t.Errorf("FCR %#x: the interrupts ended after %q", fcr, got.String())
		}
	}
}

// TestSendOneByteEachInterrupt is a handler that writes one byte and returns,
// and looks at IIR or does not.
func TestSendOneByteEachInterrupt(t *testing.T) {
	const output = "0123456789abcdef0123456789abcdef"
	for _, readIIR := range []bool{false, true} {
		p := newPort()
		p.set(offIER, ierTHRE)
		for i := 0; i < len(output) && p.edges() > 0; i++ {
			if readIIR && p.in(offIIR) != byte(iirTHRE) {
				t.Error("IIR does not identify THRE")
			}
			p.set(offData, output[i])
		}
		if got := p.out.String(); got != output {
			t.Errorf("reading IIR %v: the interrupts ended after %q", readIIR, got)
		}
	}

	p := newPort()
	p.set(offMCR, mcrLoop)
	p.set(offIER, ierTHRE)
	sent := 0
	for ; sent < len(output) && p.edges() > 0; sent++ {
		p.set(offData, output[sent])
	}
	if sent != len(output) {
		t.Errorf("in loopback the interrupts ended after %d bytes", sent)
	}
}

func TestTHREInterrupt(t *testing.T) {
	p := newPort()
	iir := func(want cause) {
		t.Helper()
		if got := cause(p.in(offIIR)); got != want {
			t.Errorf("IIR is %#x, want %#x", got, want)
		}
	}
	p.set(offIER, ierTHRE)
	iir(iirTHRE)
	iir(iirNone)           // reset by the read
	p.set(offIER, ierTHRE) // was enabled already
	iir(iirNone)
	p.set(offIER, 0)
	p.set(offIER, ierTHRE)
	iir(iirTHRE)
	p.set(offData, 'x')
	iir(iirTHRE) // empty again
	iir(iirNone)
	p.set(offIER, ierReceived|ierTHRE)
	p.set(offData, 'x')
	p.feed(t, "i")
	iir(iirReceived) // which does not reset THRE
	p.in(offData)
	iir(iirTHRE)
}

func TestMaskedInterrupts(t *testing.T) {
	p := newPort()
	p.set(offMCR, mcrLoop)
	for range 20 {
		p.set(offData, 'x')
	}
	p.set(offMCR, 0)
	p.feed(t, "input")
	p.drain()
	if got := p.edges(); got != 0 {
		t.Errorf("%d edges with nothing enabled", got)
	}
}
