package i8042

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"govmm/devices"
)

var _ devices.Snapshotter = (*Controller)(nil)

func (g guest) save(t *testing.T) devices.State {
	t.Helper()
	s, err := g.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restored returns a new controller with the state of g, and holds that it has that state.
func restored(t *testing.T, g guest) guest {
	t.Helper()
	s, h := g.save(t), newGuest()
	if err := h.RestoreState(s); err != nil {
		t.Fatalf("%s: %v", s.Data, err)
	}
	if again := h.save(t); !reflect.DeepEqual(again, s) {
		t.Fatalf("restored %s, saved %s", s.Data, again.Data)
	}
	return h
}

func TestState(t *testing.T) {
	g := newGuest()
	g.ask(t, cmdSelfTest)
	g.out(offCommand, cmdWriteRAM+5)
	g.out(offData, 0x5a)
	g.out(offCommand, cmdReadRAM+5) // an answer that waits
	h := restored(t, g)
	if v := h.in(offData); v != 0x5a {
		t.Errorf("the answer is %#x", v)
	}
	g.out(offCommand, cmdWriteRAM+6) // a command that waits
	h = restored(t, g)
	h.out(offData, 0xa5)
	if v, status := h.ask(t, cmdReadRAM+6); v != 0xa5 || status&statusSystem == 0 {
		t.Errorf("the RAM has %#x, the status is %#x", v, status)
	}
	g.out(offCommand, cmdWriteOutput)
	if h = restored(t, g); *h.resets != 0 {
		t.Error("restoring resets")
	}
	if h.out(offData, 0xfe); *h.resets != 1 {
		t.Error("no reset")
	}
}

// TestStatesOfAnyGuest saves and restores after each of many random accesses.
func TestStatesOfAnyGuest(t *testing.T) {
	rnd, g := rand.New(rand.NewPCG(1, 2)), newGuest()
	for range 3000 {
		if off := rnd.Uint64N(Ports); rnd.IntN(2) == 0 {
			g.in(off)
		} else {
			g.out(off, byte(rnd.Uint32()))
		}
		restored(t, g)
	}
}

// FuzzRestoreState restores any data: what is taken can be saved again, what is not changes nothing.
func FuzzRestoreState(f *testing.F) {
	s, _ := newGuest().SaveState()
	f.Add([]byte(s.Data))
	for _, bad := range []string{
		`{"RAM":"AA==","Output":0,"Status":0,"Pending":0}`,
		`{"RAM":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","Output":0,"Status":2,"Pending":0}`,
		`{"RAM":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","Output":0,"Status":0,"Pending":1}`,
	} {
		if err := newGuest().RestoreState(devices.State{Version: stateVersion, Data: json.RawMessage(bad)}); !errors.Is(err, devices.ErrState) {
			f.Errorf("%s: %v", bad, err)
		}
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g := newGuest()
		before := g.save(t)
		if err := g.RestoreState(devices.State{Version: stateVersion, Data: json.RawMessage(data)}); err == nil {
			restored(t, g)
		} else if !errors.Is(err, devices.ErrState) || !reflect.DeepEqual(g.save(t), before) {
			t.Errorf("%v, or the state changed", err)
		}
	})
}
