package cmos

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"govmm/devices"
)

var _ devices.Handler = (*CMOS)(nil)

// A guest accesses a CMOS whose host's clock the test sets.
type guest struct {
	*CMOS
	host *time.Time
}

func newGuest(host time.Time) guest {
	g := guest{host: &host}
	g.CMOS = New(Config{Now: func() time.Time { return *g.host }})
	return g
}

func (g guest) in(reg byte) byte {
	p := []byte{reg}
	g.Write(offIndex, p)
	g.Read(offData, p)
	return p[0]
}

func (g guest) out(reg, v byte) {
	g.Write(offIndex, []byte{reg})
	g.Write(offData, []byte{v})
}

// shown returns the registers of the time: century, year, month, day, day of
// the week, hours, minutes, seconds.
func (g guest) shown() [8]byte {
	var s [8]byte
	for i, reg := range []byte{
		regCentury, regYear, regMonth, regDayOfMonth, regDayOfWeek, regHours, regMinutes, regSeconds,
	} {
		s[i] = g.in(reg)
	}
	return s
}

// setTime does what a driver does to set the clock: century to seconds, as in
// shown, without the day of the week.
func (g guest) setTime(b byte, v [7]byte) {
	g.out(regB, b|bSet)
	for i, reg := range []byte{
		regCentury, regYear, regMonth, regDayOfMonth, regHours, regMinutes, regSeconds,
	} {
		g.out(reg, v[i])
	}
	g.out(regB, b)
}

func date(y int, m time.Month, d, hour, minute, second int) time.Time {
	return time.Date(y, m, d, hour, minute, second, 0, time.UTC)
}

// tuesday has numbers above 9 everywhere but in the month, where BCD and
// binary differ.
var tuesday = date(2031, time.December, 30, 23, 58, 59)

// TestRTCShowsBCD is a mistake that other monitors have shipped: a PC's
// firmware leaves the clock in BCD, and status register B says so.
func TestRTCShowsBCD(t *testing.T) {
	g := newGuest(tuesday)
	if b := g.in(regB); b != b24Hour {
		t.Fatalf("status B is %#x", b)
	}
	want := [8]byte{0x20, 0x31, 0x12, 0x30, 0x03, 0x23, 0x58, 0x59}
	if got := g.shown(); got != want {
		t.Errorf("shows % x, want % x", got, want)
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    byte
		host time.Time
		want [8]byte
	}{
		{"BCD, 24", b24Hour, date(1999, 12, 31, 12, 34, 56), [8]byte{0x19, 0x99, 0x12, 0x31, 6, 0x12, 0x34, 0x56}},
		{"binary, 24", bBinary | b24Hour, tuesday, [8]byte{20, 31, 12, 30, 3, 23, 58, 59}},
		{"BCD, 12", 0, tuesday, [8]byte{0x20, 0x31, 0x12, 0x30, 3, 0x91, 0x58, 0x59}},
		{"binary, 12", bBinary, tuesday, [8]byte{20, 31, 12, 30, 3, 11 | hourPM, 58, 59}},
		{"midnight", 0, date(2024, 2, 29, 0, 0, 0), [8]byte{0x20, 0x24, 0x02, 0x29, 5, 0x12, 0, 0}},
		{"one in the morning", 0, date(2024, 2, 29, 1, 0, 0), [8]byte{0x20, 0x24, 0x02, 0x29, 5, 0x01, 0, 0}},
		{"noon", 0, date(2024, 2, 29, 12, 0, 0), [8]byte{0x20, 0x24, 0x02, 0x29, 5, 0x92, 0, 0}},
		{"one o'clock", 0, date(2024, 2, 29, 13, 0, 0), [8]byte{0x20, 0x24, 0x02, 0x29, 5, 0x81, 0, 0}},
		{"sunday", b24Hour, date(2100, 2, 28, 0, 0, 0), [8]byte{0x21, 0, 0x02, 0x28, 1, 0, 0, 0}},
		{"another zone", b24Hour, time.Date(2030, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)),
			[8]byte{0x20, 0x29, 0x12, 0x31, 2, 0x23, 0x30, 0}},
		{"before the epoch", b24Hour, time.Unix(-1, 0), [8]byte{0x19, 0x69, 0x12, 0x31, 4, 0x23, 0x59, 0x59}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(tt.host)
			g.out(regB, tt.b)
			if got := g.shown(); got != tt.want {
				t.Errorf("shows % x, want % x", got, tt.want)
			}
		})
	}
}

// TestHostYears: whatever the host's clock says, the registers hold BCD.
func TestHostYears(t *testing.T) {
	for _, y := range []int{-30000, -1, 0, 99, 10000, 292277} {
		for _, v := range newGuest(date(y, 6, 15, 12, 0, 0)).shown() {
			if _, ok := parse(v, 0); !ok {
				t.Errorf("year %d: %#x is not BCD", y, v)
			}
		}
	}
}

func TestSetTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    byte
		v    [7]byte
		want time.Time
	}{
		{"BCD, 24", b24Hour, [7]byte{0x19, 0x84, 0x10, 0x26, 0x18, 0x09, 0x59}, date(1984, 10, 26, 18, 9, 59)},
		{"binary, 24", b24Hour | bBinary, [7]byte{20, 44, 10, 26, 18, 9, 59}, date(2044, 10, 26, 18, 9, 59)},
		{"BCD, 12", 0, [7]byte{0x20, 0x00, 0x02, 0x29, 0x92, 0, 0}, date(2000, 2, 29, 12, 0, 0)},
		{"binary, 12", bBinary, [7]byte{20, 0, 2, 29, 12, 0, 0}, date(2000, 2, 29, 0, 0, 0)},
		{"the first", b24Hour, [7]byte{0, 0, 1, 1, 0, 0, 0}, date(0, 1, 1, 0, 0, 0)},
		{"the last", b24Hour, [7]byte{0x99, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59}, date(9999, 12, 31, 23, 59, 59)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(tuesday)
			g.setTime(tt.b, tt.v)
			if got := g.clock(); !got.Equal(tt.want) {
				t.Fatalf("clock is at %v, want %v", got, tt.want)
			}
			*g.host = g.host.Add(36 * time.Hour)
			if got, want := g.clock(), tt.want.Add(36*time.Hour); !got.Equal(want) {
				t.Errorf("clock is at %v, want %v: it has to go on", got, want)
			}
		})
	}
}

// TestSetGarbage: a time that does not exist leaves the clock alone.
func TestSetGarbage(t *testing.T) {
	good := [7]byte{0x20, 0x24, 0x03, 0x15, 0x11, 0x30, 0x30}
	for _, tt := range []struct {
		name string
		b    byte
		at   int
		v    byte
	}{
		{"century", b24Hour, 0, 0xa0}, {"year", b24Hour, 1, 0x9a},
		{"month 0", b24Hour, 2, 0}, {"month 13", b24Hour, 2, 0x13}, {"month not BCD", b24Hour, 2, 0x0c},
		{"day 0", b24Hour, 3, 0}, {"day 32", b24Hour, 3, 0x32},
		{"hour 24", b24Hour, 4, 0x24}, {"hour of 12", b24Hour, 4, 0x81},
		{"minute 60", b24Hour, 5, 0x60}, {"second 60", b24Hour, 6, 0x60}, {"second 0xff", b24Hour, 6, 0xff},
		{"hour 0 of 12", 0, 4, 0x00}, {"hour 13 of 12", 0, 4, 0x13}, {"hour 0 pm", 0, 4, 0x80},
		{"binary year", b24Hour | bBinary, 1, 100}, {"binary minute", b24Hour | bBinary, 5, 60},
		{"binary hour", bBinary, 4, 0xff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(tuesday)
			v := good
			if tt.b&bBinary != 0 {
				v = [7]byte{20, 24, 3, 15, 11, 30, 30}
			}
			g.setTime(tt.b, v)
			set := g.clock()
			if set.Equal(tuesday) {
				t.Fatal("the good time was not taken")
			}
			v[tt.at] = tt.v
			g.setTime(tt.b, v)
			if got := g.clock(); !got.Equal(set) {
				t.Errorf("clock went to %v", got)
			}
		})
	}
}

func TestSetImpossibleDay(t *testing.T) {
	g := newGuest(tuesday)
	for _, v := range [][7]byte{
		{0x20, 0x23, 0x02, 0x29, 0, 0, 0}, {0x19, 0x00, 0x02, 0x29, 0, 0, 0}, {0x20, 0x24, 0x04, 0x31, 0, 0, 0},
	} {
		g.setTime(b24Hour, v)
		if got := g.clock(); !got.Equal(tuesday) {
			t.Errorf("% x: clock went to %v", v, got)
		}
	}
}

// TestHalted: with SET the registers stand still, and to look at them does not
// change the clock.
func TestHalted(t *testing.T) {
	g := newGuest(tuesday)
	g.out(regB, b24Hour|bSet)
	*g.host = tuesday.Add(time.Hour)
	if got := g.in(regHours); got != 0x23 {
		t.Errorf("hours are %#x", got)
	}
	g.out(regB, b24Hour)
	if got := g.in(regHours); got != 0x00 {
		t.Errorf("hours are %#x an hour later", got)
	}
	if g.offset != 0 {
		t.Errorf("the clock is off by %d s", g.offset)
	}
}

// TestSetOneRegister: without SET, a register changes the running clock.
func TestSetOneRegister(t *testing.T) {
	g := newGuest(tuesday)
	g.out(regMinutes, 0x15)
	if got, want := g.clock(), date(2031, 12, 30, 23, 15, 59); !got.Equal(want) {
		t.Errorf("clock is at %v, want %v", got, want)
	}
	g.out(regMinutes, 0x99)
	if got := g.in(regMinutes); got != 0x15 {
		t.Errorf("minutes are %#x after garbage", got)
	}
}

func TestUpdateInProgress(t *testing.T) {
	g := newGuest(tuesday)
	for _, tt := range []struct {
		left time.Duration // of the second
		want byte
	}{
		{time.Second, 0}, {time.Millisecond, 0}, {updateWarning + 1, 0},
		{updateWarning, aUpdating}, {1, aUpdating},
	} {
		*g.host = tuesday.Add(time.Second - tt.left)
		if got := g.in(regA); got != aDefault|tt.want {
			t.Errorf("%v before the update status A is %#x, want %#x", tt.left, got, aDefault|tt.want)
		}
	}
	g.out(regB, b24Hour|bSet)
	if got := g.in(regA); got != aDefault {
		t.Errorf("status A is %#x while there are no updates", got)
	}
}

func TestStatusRegisters(t *testing.T) {
	for _, tt := range []struct {
		reg, v, before, after byte
	}{
		{regA, 0xff, aDefault, 0x7f},
		{regB, 0x7d, b24Hour, 0x7d},
		{regC, 0xff, 0, 0},
		{regD, 0x00, dValid, dValid},
	} {
		g := newGuest(tuesday)
		if got := g.in(tt.reg); got != tt.before {
			t.Errorf("register %#x is %#x, want %#x", tt.reg, got, tt.before)
		}
		g.out(tt.reg, tt.v)
		if got := g.in(tt.reg); got != tt.after {
			t.Errorf("register %#x is %#x after %#x was written, want %#x", tt.reg, got, tt.v, tt.after)
		}
	}
}

func TestNVRAM(t *testing.T) {
	g := newGuest(tuesday)
	for reg := byte(0); reg < ramSize; reg++ {
		switch {
		case isTime(reg), reg >= regA && reg <= regD:
			continue
		}
		if got := g.in(reg); got != 0 {
			t.Errorf("byte %#x is %#x at first", reg, got)
		}
		g.out(reg, ^reg)
	}
	for reg := byte(regD + 1); reg < ramSize; reg++ {
		if got := g.in(reg); reg != regCentury && got != ^reg {
			t.Errorf("byte %#x is %#x", reg, got)
		}
	}
}

func TestPorts(t *testing.T) {
	g := newGuest(tuesday)
	p := []byte{0, 0, 0, 0}
	g.Write(offIndex, []byte{0x80 | 0x40, 0xa5, 0xee, 0xee}) // NMI bit, data, and nobody's
	g.Read(offIndex, p)
	if want := []byte{0xff, 0xa5, 0xff, 0xff}; !bytes.Equal(p, want) {
		t.Errorf("read % x, want % x", p, want)
	}
	if got := g.in(0x40); got != 0xa5 {
		t.Errorf("byte 0x40 is %#x", got)
	}
}

func TestZeroConfig(t *testing.T) {
	g := guest{CMOS: New(Config{})}
	if got := g.in(regCentury); got < 0x20 {
		t.Errorf("century is %#x", got)
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	g := newGuest(tuesday)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range byte(100) {
				g.setTime(b24Hour, [7]byte{0x20, 0x20, 0x01, 0x01, 0, 0, i})
				g.shown()
			}
		})
	}
	wg.Wait()
}

func TestDoesNotAllocate(t *testing.T) {
	m, p := New(Config{}), []byte{0, 0}
	if n := testing.AllocsPerRun(100, func() {
		for reg := range byte(ramSize) {
			p[0], p[1] = reg, 0x01
			m.Write(offIndex, p)
			m.Read(offIndex, p)
		}
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

// FuzzCMOS makes any accesses: two bytes are a register, with the top bit for
// a write, and a value.
func FuzzCMOS(f *testing.F) {
	f.Add([]byte{0x8b, 0x82, 0x80, 0x59, 0x89, 0xff, 0x8b, 0x02, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, program []byte) {
		g := newGuest(tuesday)
		for ; len(program) >= 2; program = program[2:] {
			reg, v := program[0]&indexMask, program[1]
			if program[0] > indexMask {
				g.out(reg, v)
			} else {
				g.in(reg)
			}
			*g.host = g.host.Add(time.Duration(v) * time.Hour)
			if g.halted() {
				continue
			}
			// What a running clock shows is a time.
			shown := g.ram
			for _, r := range timeRegisters {
				shown[r] = g.in(r)
			}
			got, ok := decode(&shown)
			if want := g.clock(); !ok || got.Unix() != want.Unix() && want.Year() < 10000 {
				t.Fatalf("the registers show %v (%v), the clock is at %v", got, ok, want)
			}
		}
	})
}
