package serial

import (
	"bytes"
	"testing"
)

// FuzzRegisters makes any accesses, with input in between. Each two bytes of
// the program are one step: the low three bits of the first are the register,
// the next two what to do, and the second is the value or the amount.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0x09, 0x0f, 0x10, 0x20, 0x05, 0, 0x00, 0, 0x02, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		program = program[:min(len(program), 4096)]
		m := model{t: t, port: newPort(), last: iirNone}
		for ; len(program) >= 2; program = program[2:] {
			m.step(program[0], program[1])
			m.check()
		}
	})
}

// A model keeps beside the UART what must come out of it.
type model struct {
	t *testing.T
	port
	sent  []byte // what the guest sent
	typed byte   // the next byte of the host's input: it counts up
	last  cause
}

func (m *model) step(op, v byte) {
	off := uint64(op & 7)
	switch op >> 3 & 3 {
	case 0:
		host := m.received() == &m.input && m.input.n > 0 && off == offData && !m.dlab()
		want := m.input.buf[m.input.head]
		if got := m.in(off); host && got != want {
			m.t.Errorf("RBR is %#x, want %#x", got, want)
		}
	case 1:
		if off == offData && !m.dlab() && !m.loopback() {
			m.sent = append(m.sent, v)
		}
		m.set(off, v)
	case 2:
		p := make([]byte, v%32)
		for i := range p {
			p[i] = m.typed + byte(i)
		}
		room := fifoSize - m.input.n
		n := m.receive(p)
		if n != min(room, len(p)) {
			m.t.Errorf("%d bytes were taken of %d, with room for %d", n, len(p), room)
		}
		m.typed += byte(n)
	case 3:
		wide := make([]byte, 1<<(v%4))
		m.Read(off, wide)
	}
}

func (m *model) check() {
	if n := m.input.n; n < 0 || n > fifoSize {
		m.t.Fatalf("%d bytes of input", n)
	}
	if n := m.looped.n; n < 0 || n > fifoSize {
		m.t.Fatalf("%d bytes in loopback", n)
	}
	if !bytes.Equal(m.out.Bytes(), m.sent) {
		m.t.Fatalf("sent % x, want % x", m.out.Bytes(), m.sent)
	}
	// The input in the FIFO is the newest that the host typed, in order.
	for i := range m.input.n {
		got := m.input.buf[(m.input.head+i)%fifoSize]
		if want := m.typed - byte(m.input.n-i); got != want {
			m.t.Fatalf("byte %d of the input is %#x, want %#x", i, got, want)
		}
	}
	m.checkInterrupt()
}

// checkInterrupt reads the registers without the effects of reading them.
func (m *model) checkInterrupt() {
	copied := m.registers
	iir := copied.readIIR()
	copied = m.registers
	lsr := copied.readLSR()
	c := cause(iir & 0x0f)

	ready := lsr&lsrDataReady != 0
	if (iir&iirFIFOs == iirFIFOs) != m.fifoMode {
		m.t.Fatalf("IIR is %#x, FIFO mode %v", iir, m.fifoMode)
	}
	if lsr&(lsrTHRE|lsrTEMT) != lsrTHRE|lsrTEMT {
		m.t.Fatalf("LSR is %#x with nothing to send", lsr)
	}
	if c == iirTimeout && !m.fifoMode {
		m.t.Fatal("a timeout in 16450 mode")
	}
	var enabled bool
	switch c {
	case iirLine:
		enabled = m.ier&ierLine != 0 && lsr&lsrOverrun != 0
	case iirReceived, iirTimeout:
		enabled = m.ier&ierReceived != 0 && m.receivedLen() > 0
	case iirTHRE:
		enabled = m.ier&ierTHRE != 0
	case iirModem:
		enabled = m.ier&ierModem != 0 && m.modemDelta != 0
	case iirNone:
		enabled = m.ier&ierReceived == 0 || m.receivedLen() == 0
	}
	if !enabled {
		m.t.Fatalf("IIR is %#x with IER %#x and LSR %#x", iir, m.ier, lsr)
	}
	if !ready && (c == iirReceived || c == iirTimeout) {
		m.t.Fatalf("IIR is %#x and LSR %#x", iir, lsr)
	}
	// Whatever is pending has had an edge since it became so.
	edges := m.edges()
	if c != iirNone && c != m.last && edges == 0 {
		m.t.Fatalf("cause %#x became pending without an edge", c)
	}
	m.last = c
}
