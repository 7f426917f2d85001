package pci

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"govmm/devices"
)

// A mailbox is a Vector that keeps what it was told.
type mailbox struct {
	message Message
	set     int
	sent    int
	err     error
}

func (m *mailbox) SetMessage(msg Message) error {
	m.message = msg
	m.set++
	return m.err
}

func (m *mailbox) Trigger() error {
	m.sent++
	return m.err
}

const controlAt = headerSize + 2

func newMSIX(t testing.TB) (*Function, *MSIX, []*mailbox, *int) {
	t.Helper()
	boxes, failures := []*mailbox{{}, {}, {}}, new(int)
	m, err := NewMSIX([]Vector{boxes[0], boxes[1], boxes[2]}, func(error) { *failures++ })
	must(t, err)
	f := NewFunction("f", ID{})
	must(t, f.AddBAR(BAR{Index: 0, Size: 0x8000, Handler: registers(0)}))
	must(t, f.AddMSIX(m, 0, 0x4000, 0x5000))
	return f, m, boxes, failures
}

func put(h devices.Handler, off uint64, v uint32) {
	h.Write(off, binary.LittleEndian.AppendUint32(nil, v))
}

func control(f *Function, v uint16) { f.Write(controlAt, binary.LittleEndian.AppendUint16(nil, v)) }

// program writes entry i as a driver does.
func program(m *MSIX, i uint64, addr uint64, data uint32, mask uint32) {
	t := m.Table()
	put(t, 16*i, uint32(addr))
	put(t, 16*i+4, uint32(addr>>32))
	put(t, 16*i+8, data)
	put(t, 16*i+12, mask)
}

func TestMSIXCapability(t *testing.T) {
	f, _, _, _ := newMSIX(t)
	p := make([]byte, 12)
	f.Read(headerSize, p)
	if want := []byte{0x11, 0, 2, 0, 0, 0x40, 0, 0, 0, 0x50, 0, 0}; !bytes.Equal(p, want) {
		t.Errorf("the capability is % x, want % x", p, want)
	}
	control(f, 0xffff)
	if f.Read(controlAt, p[:2]); binary.LittleEndian.Uint16(p) != 0xc002 {
		t.Errorf("message control is % x after ones", p[:2])
	}
}

func TestMSIXMasking(t *testing.T) {
	f, m, boxes, _ := newMSIX(t)
	pba := func() byte {
		var p [8]byte
		m.Pending().Read(0, p[:])
		return p[0]
	}
	expect := func(when string, sent, set int, pending byte) {
		t.Helper()
		if boxes[1].sent != sent || boxes[1].set != set || pba() != pending {
			t.Errorf("%s: %d sent, %d messages, pending %#x; want %d, %d, %#x", when, boxes[1].sent, boxes[1].set, pba(), sent, set, pending)
		}
	}
	m.Trigger(1)
	expect("disabled", 0, 0, 0)
	control(f, msixEnable)
	m.Trigger(1)
	m.Trigger(1)
	expect("masked by default", 0, 0, 2)
	program(m, 1, 0x1_fee0_0000, 0x41, 0)
	expect("unmasked", 1, 1, 0)
	if want := (Message{0x1_fee0_0000, 0x41}); boxes[1].message != want {
		t.Errorf("message %v", boxes[1].message)
	}
	m.Trigger(1)
	expect("live", 2, 1, 0)
	control(f, msixEnable|msixMask)
	m.Trigger(1)
	expect("function masked", 2, 1, 2)
	control(f, msixEnable)
	expect("function unmasked", 3, 1, 0)
	put(m.Table(), 16+12, 1)
	put(m.Table(), 16+12, 0)
	expect("to and fro", 3, 1, 0)
	program(m, 1, 0x1_fee0_0000, 0x42, 0)
	expect("changed while live", 3, 2, 0)
	put(m.Table(), 16+12, 1)
	m.Trigger(1)
	control(f, 0)
	control(f, msixEnable)
	expect("disabled and enabled", 3, 2, 0)
	m.Trigger(3)
	m.Trigger(0xffff)
	if boxes[0].sent+boxes[2].sent != 0 {
		t.Error("another vector was sent")
	}
}

func TestMSIXTable(t *testing.T) {
	_, m, _, _ := newMSIX(t)
	table := m.Table()
	ones := bytes.Repeat([]byte{0xff}, 8)
	table.Write(0, ones)
	table.Write(8, ones)
	p := make([]byte, 8)
	for off, want := range map[uint64]uint64{0: 0xffff_ffff_ffff_fffc, 8: 0x1_ffff_ffff, 16: 0, 24: 1 << 32, 48: 0, 4088: 0} {
		if table.Read(off, p); binary.LittleEndian.Uint64(p) != want {
			t.Errorf("at %d: % x, want %#x", off, p, want)
		}
	}
	// Unusual accesses do nothing.
	table.Write(16, ones[:2])
	table.Write(20, ones)
	table.Write(48, ones)
	table.Write(4088, ones)
	m.Pending().Write(0, ones)
	if table.Read(16, p); binary.LittleEndian.Uint64(p) != 0 {
		t.Errorf("entry 1 is % x", p)
	}
	p[0] = 1
	if table.Read(1, p[:1]); p[0] != 0 {
		t.Error("a byte of the table can be read")
	}
}

func TestMSIXHostFails(t *testing.T) {
	f, m, boxes, failures := newMSIX(t)
	boxes[0].err = errors.New("no more routes")
	control(f, msixEnable)
	program(m, 0, 0xfee0_0000, 1, 0)
	m.Trigger(0)
	if *failures != 2 {
		t.Errorf("%d failures were told, want 2", *failures)
	}
}

func TestMSIXState(t *testing.T) {
	f, m, _, _ := newMSIX(t)
	control(f, msixEnable)
	program(m, 0, 0xfee0_0000, 0x31, 0)
	m.Trigger(2)
	saved, err := f.SaveState()
	must(t, err)

	g, n, boxes, _ := newMSIX(t)
	must(t, g.RestoreState(saved))
	again, err := g.SaveState()
	must(t, err)
	if !bytes.Equal(saved.Data, again.Data) {
		t.Errorf("saved %s, then %s", saved.Data, again.Data)
	}
	if boxes[0].sent+boxes[2].sent != 0 {
		t.Error("restoring sent a message")
	}
	n.Trigger(0)
	program(n, 2, 0xfee0_1000, 0x33, 0)
	if boxes[0].sent != 1 || boxes[0].message != (Message{0xfee0_0000, 0x31}) || boxes[2].sent != 1 {
		t.Errorf("after restoring: %+v %+v", boxes[0], boxes[2])
	}
	for name, change := range map[string]func(*functionState){
		"too few entries": func(s *functionState) { s.Entries = s.Entries[:2] },
		"odd address":     func(s *functionState) { s.Entries[0].Addr = 1 },
		"live pending":    func(s *functionState) { s.Entries[0].Pending = true },
	} {
		var s functionState
		must(t, devices.DecodeState(saved, stateVersion, &s))
		change(&s)
		state, err := devices.EncodeState(stateVersion, s)
		must(t, err)
		if err := g.RestoreState(state); !errors.Is(err, devices.ErrState) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTriggerDoesNotAllocate(t *testing.T) {
	f, m, _, _ := newMSIX(t)
	control(f, msixEnable)
	program(m, 0, 0xfee0_0000, 0x31, 0)
	if n := testing.AllocsPerRun(100, func() { m.Trigger(0); m.Trigger(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRestoreState(f *testing.F) {
	fn, _, _, _ := newMSIX(f)
	s, err := fn.SaveState()
	must(f, err)
	f.Add([]byte(s.Data))
	f.Fuzz(func(t *testing.T, data []byte) {
		fn, m, _, _ := newMSIX(t)
		before, err := fn.SaveState()
		must(t, err)
		if fn.RestoreState(devices.State{Version: 1, Data: data}) != nil {
			after, err := fn.SaveState()
			if must(t, err); !bytes.Equal(before.Data, after.Data) {
				t.Error("a refused state changed the function")
			}
		}
		m.Trigger(0)
	})
}
