package pm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"govmm/devices"
)

var _ devices.Handler = (*ResetRegister)(nil)

// sci counts edges.
type sci struct{ edges int }

func (s *sci) Trigger() error {
	s.edges++
	return nil
}

const testS5 = 5

// A guest accesses a PM1 and counts what comes of it.
type guest struct {
	*PM1
	sci  *sci
	offs *int
}

func newGuest() guest {
	g := guest{sci: new(sci), offs: new(int)}
	g.PM1 = New(Config{SCI: g.sci, S5SleepType: testS5, PowerOff: func() { *g.offs++ }})
	return g
}

func read16(h devices.Handler, off uint64) uint16 {
	var p [2]byte
	h.Read(off, p[:])
	return binary.LittleEndian.Uint16(p[:])
}

func write16(h devices.Handler, off uint64, v uint16) {
	h.Write(off, binary.LittleEndian.AppendUint16(nil, v))
}

func TestReset(t *testing.T) {
	g := newGuest()
	p := make([]byte, EventPorts)
	g.Event().Read(0, p)
	if !bytes.Equal(p, make([]byte, EventPorts)) {
		t.Errorf("event block is % x", p)
	}
	if got := read16(g.Control(), 0); got != controlSCIEnable {
		t.Errorf("control is %#x", got)
	}
}

func TestPowerButton(t *testing.T) {
	g := newGuest()
	ev := g.Event()
	g.PressPowerButton()
	if g.sci.edges != 0 {
		t.Error("SCI for an event that is not enabled")
	}
	if got := read16(ev, 0); got != powerButton {
		t.Errorf("status is %#x", got)
	}
	write16(ev, 2, powerButton)
	if g.sci.edges != 1 {
		t.Errorf("%d edges when the pending event is enabled", g.sci.edges)
	}
	g.PressPowerButton() // still pending
	if g.sci.edges != 1 {
		t.Errorf("%d edges for one event", g.sci.edges)
	}
	write16(ev, 0, powerButton)
	if got := read16(ev, 0); got != 0 {
		t.Errorf("status is %#x after it was cleared", got)
	}
	g.PressPowerButton()
	if g.sci.edges != 2 {
		t.Errorf("%d edges after the second press", g.sci.edges)
	}
	if *g.offs != 0 {
		t.Error("the button itself turned the power off")
	}
}

// TestStatusWriteOneToClear: only ones clear, and nothing sets.
func TestStatusWriteOneToClear(t *testing.T) {
	g := newGuest()
	ev := g.Event()
	g.PressPowerButton()
	write16(ev, 0, ^uint16(powerButton))
	if got := read16(ev, 0); got != powerButton {
		t.Errorf("status is %#x", got)
	}
	ev.Write(0, []byte{0xff}) // the other byte
	if got := read16(ev, 0); got != powerButton {
		t.Errorf("status is %#x", got)
	}
	ev.Write(1, []byte{powerButton >> 8})
	if got := read16(ev, 0); got != 0 {
		t.Errorf("status is %#x", got)
	}
	write16(ev, 0, 0xffff)
	if got := read16(ev, 0); got != 0 {
		t.Errorf("status is %#x: a write set it", got)
	}
}

func TestEnable(t *testing.T) {
	g := newGuest()
	ev := g.Event()
	write16(ev, 2, 0xffff)
	if got := read16(ev, 2); got != enableMask {
		t.Errorf("enable is %#x, want %#x", got, enableMask)
	}
	ev.Write(3, []byte{0})
	if got := read16(ev, 2); got != enableMask&0xff {
		t.Errorf("enable is %#x", got)
	}
	ev.Write(2, []byte{0})
	ev.Write(3, []byte{powerButton >> 8})
	p := make([]byte, 4)
	ev.Read(0, p)
	if !bytes.Equal(p, []byte{0, 0, 0, 1}) {
		t.Errorf("event block is % x", p)
	}
	// All four bytes at once: clears the event and disables it.
	g.PressPowerButton()
	ev.Write(0, []byte{0, 1, 0, 0})
	ev.Read(0, p)
	if !bytes.Equal(p, make([]byte, 4)) {
		t.Errorf("event block is % x", p)
	}
}

func TestControl(t *testing.T) {
	g := newGuest()
	c := g.Control()
	write16(c, 0, 0)
	if got := read16(c, 0); got != controlSCIEnable {
		t.Errorf("control is %#x: SCI_EN cannot be cleared", got)
	}
	write16(c, 0, 0xffff)
	if got, want := read16(c, 0), uint16(controlSCIEnable|controlBusMaster|sleepTypeMask); got != want {
		t.Errorf("control is %#x, want %#x", got, want)
	}
	p := []byte{0}
	c.Read(1, p)
	if p[0] != sleepTypeMask>>8 {
		t.Errorf("control's second byte is %#x", p[0])
	}
}

func TestPowerOff(t *testing.T) {
	const s5 = testS5 << sleepTypeShift
	for _, tt := range []struct {
		name  string
		write func(c devices.Handler)
		want  int
	}{
		{"one write", func(c devices.Handler) { write16(c, 0, s5|controlSleep) }, 1},
		{"type first, as ACPICA does", func(c devices.Handler) {
			write16(c, 0, s5)
			write16(c, 0, s5|controlSleep)
		}, 1},
		{"twice", func(c devices.Handler) {
			write16(c, 0, s5|controlSleep)
			write16(c, 0, s5|controlSleep)
		}, 1},
		{"a byte", func(c devices.Handler) { c.Write(1, []byte{(s5 | controlSleep) >> 8}) }, 1},
		{"type only", func(c devices.Handler) { write16(c, 0, s5) }, 0},
		{"another type", func(c devices.Handler) { write16(c, 0, 1<<sleepTypeShift|controlSleep) }, 0},
		{"another type, then S5", func(c devices.Handler) {
			write16(c, 0, controlSleep)
			write16(c, 0, s5|controlSleep)
		}, 1},
		{"the low byte", func(c devices.Handler) { c.Write(0, []byte{0xff}) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest()
			tt.write(g.Control())
			if *g.offs != tt.want {
				t.Errorf("PowerOff was called %d times, want %d", *g.offs, tt.want)
			}
		})
	}
}

// TestPowerOffTypeZero: a sleep type of zero is a type like any other.
func TestPowerOffTypeZero(t *testing.T) {
	offs := 0
	c := New(Config{PowerOff: func() { offs++ }}).Control()
	write16(c, 0, 0)
	if offs != 0 {
		t.Fatal("off without SLP_EN")
	}
	write16(c, 0, controlSleep)
	if offs != 1 {
		t.Errorf("PowerOff was called %d times", offs)
	}
}

// TestReenter: the functions are called with no lock held.
func TestReenter(t *testing.T) {
	var p *PM1
	p = New(Config{PowerOff: func() { p.PressPowerButton() }})
	write16(p.Control(), 0, controlSleep)
	if read16(p.Event(), 0) != powerButton {
		t.Error("PowerOff was not called")
	}
}

func TestZeroConfig(t *testing.T) {
	p := New(Config{})
	write16(p.Event(), 2, powerButton)
	p.PressPowerButton()
	write16(p.Control(), 0, controlSleep)
}

type brokenSCI struct{}

func (brokenSCI) Trigger() error { return errors.New("no wire") }

func TestSCIFailureIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	p := New(Config{SCI: brokenSCI{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	write16(p.Event(), 2, powerButton)
	for range 3 {
		p.PressPowerButton()
		write16(p.Event(), 0, powerButton)
	}
	if n := strings.Count(log.String(), "no wire"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}

func TestBeyondRegisters(t *testing.T) {
	g := newGuest()
	for _, h := range []devices.Handler{g.Event(), g.Control(), NewResetRegister(nil)} {
		p := make([]byte, 8)
		h.Read(2, p)
		if p[7] != 0xff {
			t.Errorf("%T reads % x beyond its end", h, p)
		}
		h.Write(^uint64(0)-1, []byte{0xff})
		h.Write(4, bytes.Repeat([]byte{0xff}, 8))
	}
	if *g.offs != 0 {
		t.Error("off")
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	offs := make(chan struct{}, 8)
	p := New(Config{S5SleepType: testS5, PowerOff: func() { offs <- struct{}{} }})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				p.PressPowerButton()
				write16(p.Event(), 2, powerButton)
				write16(p.Event(), 0, powerButton)
				write16(p.Control(), 0, testS5<<sleepTypeShift|controlSleep)
			}
		})
	}
	wg.Wait()
	if n := len(offs); n != 1 {
		t.Errorf("PowerOff was called %d times", n)
	}
}

func TestResetRegister(t *testing.T) {
	for _, tt := range []struct {
		writes []byte
		resets int
		value  byte
	}{
		{[]byte{0x06}, 1, 0x02},
		{[]byte{0x0e}, 1, 0x0a},
		{[]byte{0x02, 0x06}, 1, 0x02},
		{[]byte{0x04}, 1, 0},
		{[]byte{0x02}, 0, 0x02},
		{[]byte{0x08, 0x00}, 0, 0},
		{[]byte{0xfb}, 0, 0x0a},
		{[]byte{ResetValue, ResetValue}, 2, 0x02},
	} {
		resets := 0
		r := NewResetRegister(func() { resets++ })
		for _, v := range tt.writes {
			r.Write(0, []byte{v})
		}
		p := []byte{0}
		r.Read(0, p)
		if resets != tt.resets || p[0] != tt.value {
			t.Errorf("% x: %d resets, reads %#x; want %d and %#x", tt.writes, resets, p[0], tt.resets, tt.value)
		}
	}
}

func TestDoesNotAllocate(t *testing.T) {
	g := newGuest()
	ev, c, r := g.Event(), g.Control(), NewResetRegister(nil)
	p := []byte{0, 0}
	if n := testing.AllocsPerRun(100, func() {
		for _, h := range [...]devices.Handler{ev, c, r} {
			h.Write(0, p)
			h.Read(0, p)
		}
		g.PressPowerButton()
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}
