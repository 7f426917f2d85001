package serial

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"govmm/devices"
)

var _ devices.Snapshotter = (*UART)(nil)

func (p port) save(t *testing.T) devices.State {
	t.Helper()
	s, err := p.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restored returns a new UART with the state of p, and holds that it has that state.
func restored(t *testing.T, p port) port {
	t.Helper()
	s, q := p.save(t), newPort()
	if err := q.RestoreState(s); err != nil {
		t.Fatalf("%s: %v", s.Data, err)
	}
	if again := q.save(t); !reflect.DeepEqual(again, s) {
		t.Fatalf("restored %s, saved %s", s.Data, again.Data)
	}
	if q.edges() != 0 || q.out.Len() != 0 {
		t.Error("restoring interrupted or sent")
	}
	return q
}

func TestStateOfWaitingInput(t *testing.T) {
	p := newPort()
	p.set(offFCR, fcrEnable|2<<fcrTriggerShift)
	p.feed(t, "xx")
	p.set(offIER, ierReceived|ierTHRE)
	p.in(offData) // so that the ring does not begin at its start
	p.feed(t, "0123456789")
	p.set(offLCR, lcrDLAB)
	p.set(offData, 0x12)
	p.set(offIER, 0x34)
	p.set(offLCR, 3)
	p.set(offSCR, 0x56)
	q := restored(t, p)
	for off := range uint64(Ports) {
		if off != offData && off != offIIR {
			if a, b := p.in(off), q.in(off); a != b {
				t.Errorf("register %d is %#x, was %#x", off, b, a)
			}
		}
	}
	if got := q.drain(); got != "x0123456789" {
		t.Errorf("the input is %q", got)
	}
	q.feed(t, "more")
	if q.edges() == 0 || q.drain() != "more" {
		t.Error("no input after a restore")
	}
}

// TestStateOfHeldInput is input before the guest listens.
func TestStateOfHeldInput(t *testing.T) {
	p := newPort()
	p.feed(t, "held")
	q := restored(t, p)
	if q.in(offLSR)&lsrDataReady != 0 {
		t.Error("the guest sees input that it does not listen for")
	}
	if q.set(offIER, ierReceived); q.edges() == 0 || q.drain() != "held" {
		t.Error("the input is lost")
	}
}

// TestStatesOfAnyGuest saves and restores after each of many random accesses.
func TestStatesOfAnyGuest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		p := newPort()
		for range 60 {
			off, v := rnd.Uint64N(Ports), byte(rnd.Uint32())
			switch rnd.IntN(3) {
			case 0:
				p.in(off)
			case 1:
				p.set(off, v)
			case 2:
				p.receive(bytes.Repeat([]byte{v}, int(v%8)))
			}
			q := restored(t, p)
			if a, b := p.in(offIIR), q.in(offIIR); a != b {
				t.Fatalf("IIR is %#x, was %#x", b, a)
			}
		}
	}
}

// TestRestoreRefuses holds that an impossible state leaves the UART as it was.
func TestRestoreRefuses(t *testing.T) {
	for name, change := range map[string]func(*savedState){
		"IER":            func(s *savedState) { s.IER = 0x10 },
		"MCR":            func(s *savedState) { s.MCR = 0x20 },
		"modem":          func(s *savedState) { s.ModemDelta = 0x10 },
		"trigger":        func(s *savedState) { s.Trigger = 2 },
		"trigger, 16450": func(s *savedState) { s.Trigger = 14 },
		"input":          func(s *savedState) { s.Input = make([]byte, fifoSize+1) },
		"looped":         func(s *savedState) { s.Looped = make([]byte, 2); s.MCR = mcrLoop },
		"not looped":     func(s *savedState) { s.Looped = make([]byte, 1) },
		"polls":          func(s *savedState) { s.Polls = -1 },
		"many polls":     func(s *savedState) { s.Polls, s.Polling = pollThreshold+2, true },
		"not polling":    func(s *savedState) { s.Polls = pollThreshold + 1 },
		"interrupt":      func(s *savedState) { s.Signalled = byte(iirTHRE) },
	} {
		p := newPort()
		p.set(offSCR, 0x77)
		s := p.save(t)
		var v savedState
		if err := devices.DecodeState(s, stateVersion, &v); err != nil {
			t.Fatal(err)
		}
		v.SCR = 0x88
		change(&v)
		wrong, err := devices.EncodeState(stateVersion, v)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.RestoreState(wrong); !errors.Is(err, devices.ErrState) {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(p.save(t), s) {
			t.Errorf("%s: the state changed", name)
		}
	}
}

// FuzzRestoreState restores any data and goes on with any accesses.
func FuzzRestoreState(f *testing.F) {
	s, _ := newPort().SaveState()
	f.Add([]byte(s.Data), []byte{0x09, 0x0f, 0x10, 0x20, 0x05, 0, 0x00, 0, 0x02, 0})
	f.Fuzz(func(t *testing.T, data, program []byte) {
		p := newPort()
		before := p.save(t)
		if err := p.RestoreState(devices.State{Version: stateVersion, Data: json.RawMessage(data)}); err != nil {
			if !errors.Is(err, devices.ErrState) || !reflect.DeepEqual(p.save(t), before) {
				t.Errorf("%v, or the state changed", err)
			}
			return
		}
		for ; len(program) >= 2; program = program[2:] {
			restored(t, p)
			switch off := uint64(program[0] & 7); program[0] >> 3 & 3 {
			case 0:
				p.in(off)
			case 1:
				p.set(off, program[1])
			default:
				p.receive(bytes.Repeat(program[1:2], int(program[1]%32)))
			}
		}
	})
}
