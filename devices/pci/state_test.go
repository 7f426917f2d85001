package pci

import (
	"bytes"
	"errors"
	"testing"

	"govmm/devices"
)

func newRoot(t testing.TB) *Root {
	t.Helper()
	r, err := NewRoot(RootConfig{Memory: devices.NewBus("MMIO", 0), Ports: devices.NewBus("PIO", 1<<16)})
	must(t, err)
	return r
}

// TestRootState holds that what software has selected stays selected, with what it has made of the host bridge.
func TestRootState(t *testing.T) {
	r := newRoot(t)
	ports := r.ConfigPorts(nil)
	ports.Write(0, []byte{0x04, 0, 0, 0x80}) // command and status of the host bridge
	ports.Write(offData, []byte{2, 0})       // memory space
	saved, err := r.SaveState()
	must(t, err)

	to := newRoot(t)
	must(t, to.RestoreState(saved))
	command := make([]byte, 2)
	if to.ConfigPorts(nil).Read(offData, command); !bytes.Equal(command, []byte{2, 0}) {
		t.Errorf("the selected register has %x", command)
	}
	again, err := to.SaveState()
	if must(t, err); !bytes.Equal(again.Data, saved.Data) {
		t.Errorf("%s, saved was %s", again.Data, saved.Data)
	}
}

func FuzzRootState(f *testing.F) {
	r := newRoot(f)
	s, err := r.SaveState()
	must(f, err)
	f.Add([]byte(s.Data))
	f.Add(bytes.Replace(s.Data, []byte(`"address":0`), []byte(`"address":1`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRoot(t)
		before, err := r.SaveState()
		must(t, err)
		if err := r.RestoreState(devices.State{Version: stateVersion, Data: data}); err == nil {
			return
		} else if !errors.Is(err, devices.ErrState) {
			t.Error(err)
		}
		after, err := r.SaveState()
		if must(t, err); !bytes.Equal(before.Data, after.Data) {
			t.Error("a refused state changed the bus")
		}
	})
}
