package cmos

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"govmm/devices"
)

var _ devices.Snapshotter = (*CMOS)(nil)

func (g guest) save(t *testing.T) devices.State {
	t.Helper()
	s, err := g.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restored returns a new chip with the state of g on a host with the given time, and holds that it has that state.
func restored(t *testing.T, g guest, host time.Time) guest {
	t.Helper()
	s, h := g.save(t), newGuest(host)
	if err := h.RestoreState(s); err != nil {
		t.Fatalf("%s: %v", s.Data, err)
	}
	if again := h.save(t); !reflect.DeepEqual(again, s) {
		t.Fatalf("restored %s, saved %s", s.Data, again.Data)
	}
	return h
}

// TestStateOfRunningClock holds that the clock has gone on while the machine was not there.
func TestStateOfRunningClock(t *testing.T) {
	g := newGuest(tuesday)
	g.setTime(b24Hour, [7]byte{0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58}) // 1999-12-31 23:59:58
	g.out(regSecondsAlarm, 0x42)
	g.out(0x40, 0x17)
	before := g.clock()
	h := restored(t, g, tuesday.Add(3*time.Second))
	if got := h.clock(); got.Sub(before) != 3*time.Second {
		t.Errorf("the clock went from %v to %v in 3 seconds", before, got)
	}
	if a, b := h.in(regSecondsAlarm), h.in(0x40); a != 0x42 || b != 0x17 {
		t.Errorf("alarm %#x, NVRAM %#x", a, b)
	}
	// The index register is where it was.
	var p [1]byte
	g.Write(offIndex, []byte{0x40})
	if restored(t, g, tuesday).Read(offData, p[:]); p[0] != 0x17 {
		t.Errorf("byte %#x behind the index register", p[0])
	}
}

// TestStateOfHaltedClock saves between the two halves of setting the time.
func TestStateOfHaltedClock(t *testing.T) {
	g := newGuest(tuesday)
	g.out(regB, b24Hour|bSet)
	g.out(regMinutes, 0x33)
	h := restored(t, g, tuesday.Add(time.Hour))
	if v := h.in(regMinutes); v != 0x33 {
		t.Errorf("%#x minutes", v)
	}
	h.out(regB, b24Hour)
	if got := h.clock(); got.Minute() != 33 || got.Hour() != tuesday.Hour() {
		t.Errorf("the clock is at %v", got)
	}
}

// TestStatesOfAnyGuest saves and restores after each of many random accesses.
func TestStatesOfAnyGuest(t *testing.T) {
	rnd, g := rand.New(rand.NewPCG(1, 2)), newGuest(tuesday)
	for range 3000 {
		g.out(byte(rnd.UintN(16)), byte(rnd.Uint32()))
		restored(t, g, tuesday)
	}
}

// FuzzRestoreState restores any data: what is taken can be saved again and shows a time, what is not changes nothing.
func FuzzRestoreState(f *testing.F) {
	s, _ := newGuest(tuesday).SaveState()
	f.Add([]byte(s.Data))
	valid := savedState{RAM: make([]byte, ramSize)}
	for name, change := range map[string]func(*savedState){
		"short":    func(s *savedState) { s.RAM = s.RAM[1:] },
		"index":    func(s *savedState) { s.Index = 128 },
		"offset":   func(s *savedState) { s.Offset = 1 << 62 },
		"updating": func(s *savedState) { s.RAM[regA] = aUpdating },
		"status":   func(s *savedState) { s.RAM[regC] = 1 },
	} {
		v := valid
		v.RAM = make([]byte, ramSize)
		change(&v)
		wrong, err := devices.EncodeState(stateVersion, v)
		if err != nil {
			f.Fatal(err)
		}
		if err := newGuest(tuesday).RestoreState(wrong); !errors.Is(err, devices.ErrState) {
			f.Errorf("%s: %v", name, err)
		}
		f.Add([]byte(wrong.Data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g := newGuest(tuesday)
		before := g.save(t)
		if err := g.RestoreState(devices.State{Version: stateVersion, Data: json.RawMessage(data)}); err != nil {
			if !errors.Is(err, devices.ErrState) || !reflect.DeepEqual(g.save(t), before) {
				t.Errorf("%v, or the state changed", err)
			}
			return
		}
		restored(t, g, tuesday)
		for i := range byte(ramSize) {
			g.in(i)
		}
	})
}
