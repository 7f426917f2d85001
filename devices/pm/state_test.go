package pm

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"govmm/devices"
)

var _, _ devices.Snapshotter = (*PM1)(nil), (*ResetRegister)(nil)

// restore puts to into the state of from, and holds that it then has that state.
func restore(t *testing.T, from, to devices.Snapshotter) {
	t.Helper()
	s, err := from.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	if err := to.RestoreState(s); err != nil {
		t.Fatalf("%s: %v", s.Data, err)
	}
	if again, err := to.SaveState(); err != nil || !reflect.DeepEqual(again, s) {
		t.Fatalf("restored %s, saved %s, %v", s.Data, again.Data, err)
	}
}

func TestState(t *testing.T) {
	g := newGuest()
	write16(g.Event(), 2, 0xffff)
	write16(g.Control(), 0, 3<<sleepTypeShift|controlBusMaster)
	g.PressPowerButton()
	h := newGuest()
	restore(t, g, h)
	if h.sci.edges != 0 {
		t.Error("restoring interrupts")
	}
	for off := range uint64(2) {
		if a, b := read16(g.Event(), 2*off), read16(h.Event(), 2*off); a != b {
			t.Errorf("register %d is %#x, was %#x", off, b, a)
		}
	}
	if a, b := read16(g.Control(), 0), read16(h.Control(), 0); a != b {
		t.Errorf("control is %#x, was %#x", b, a)
	}
	// The event is still pending: no second edge before the guest has cleared it.
	h.PressPowerButton()
	write16(h.Event(), 0, powerButton)
	if h.PressPowerButton(); h.sci.edges != 1 {
		t.Errorf("%d edges", h.sci.edges)
	}
}

// TestStateOfMachineThatIsOff holds that nothing is turned off twice.
func TestStateOfMachineThatIsOff(t *testing.T) {
	g, h := newGuest(), newGuest()
	write16(g.Control(), 0, testS5<<sleepTypeShift|controlSleep)
	restore(t, g, h)
	write16(h.Control(), 0, testS5<<sleepTypeShift|controlSleep)
	if *g.offs != 1 || *h.offs != 0 {
		t.Errorf("turned off %d and %d times", *g.offs, *h.offs)
	}
}

func TestStateOfResetRegister(t *testing.T) {
	resets := 0
	r, s := NewResetRegister(nil), NewResetRegister(func() { resets++ })
	r.Write(0, []byte{0x0e})
	restore(t, r, s)
	var p [1]byte
	if s.Read(0, p[:]); p[0] != resetStored || resets != 0 {
		t.Errorf("the register is %#x after %d resets", p[0], resets)
	}
}

// FuzzRestoreState restores any data in both devices: what is taken can be saved again, what is not changes nothing.
func FuzzRestoreState(f *testing.F) {
	f.Add([]byte(`{"Status":256,"Enable":256,"Control":2,"Off":true}`))
	f.Add([]byte(`{"Value":10}`))
	for _, bad := range []string{`{"Status":1}`, `{"Enable":2}`, `{"Control":8192}`, `{"Value":4}`} {
		for _, d := range []devices.Snapshotter{newGuest(), NewResetRegister(nil)} {
			if err := d.RestoreState(devices.State{Version: stateVersion, Data: json.RawMessage(bad)}); !errors.Is(err, devices.ErrState) {
				f.Errorf("%s: %v", bad, err)
			}
		}
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, pair := range [][2]devices.Snapshotter{{newGuest(), newGuest()}, {NewResetRegister(nil), NewResetRegister(nil)}} {
			before, _ := pair[0].SaveState()
			if err := pair[0].RestoreState(devices.State{Version: stateVersion, Data: json.RawMessage(data)}); err == nil {
				restore(t, pair[0], pair[1])
			} else if after, _ := pair[0].SaveState(); !errors.Is(err, devices.ErrState) || !reflect.DeepEqual(after, before) {
				t.Errorf("%v, or the state changed", err)
			}
		}
	})
}
