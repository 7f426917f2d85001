package pci

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"govmm/devices"
)

// registers is the handler of a BAR that answers reads with one byte.
type registers byte

func (r registers) Read(_ uint64, p []byte) {
	for i := range p {
		p[i] = byte(r)
	}
}
func (r registers) Write(uint64, []byte) {}

// A rig is a bus with two functions on it, in slots 1 and 2.
type rig struct {
	t             *testing.T
	memory, ports *devices.Bus
	root          *Root
	config        devices.Handler
	functions     []*Function
	moves         []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, memory: devices.NewBus("MMIO", 0), ports: devices.NewBus("PIO", 1<<16)}
	var err error
	r.root, err = NewRoot(RootConfig{
		Memory: r.memory, Ports: r.ports,
		MemoryWindow: Range{0xc000_0000, 0x1000_0000}, PortsWindow: Range{0x1000, 0x1000},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.config = r.root.ConfigPorts(nil)
	for slot := 1; slot <= 2; slot++ {
		f := NewFunction(fmt.Sprintf("f%d", slot), ID{Vendor: 0x1af4, Device: 0x1041, Revision: 1, Class: 0x020000})
		must(t, f.AddBAR(BAR{Index: 0, Size: 0x8000, Handler: registers(slot), Moved: func(addr uint64, mapped bool) {
			r.moves = append(r.moves, fmt.Sprintf("f%d %#x %v", slot, addr, mapped))
		}}))
		must(t, f.AddBAR(BAR{Index: 2, Space: Ports, Size: 32, Handler: registers(0x10 + slot)}))
		if _, err := r.root.Add(f); err != nil {
			t.Fatal(err)
		}
		r.functions = append(r.functions, f)
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read and write go through the ports, as a guest's do.
func (r *rig) read(slot, reg uint32) uint32 {
	r.selectRegister(slot, reg)
	var p [4]byte
	r.config.Read(4, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (r *rig) write(slot, reg, v uint32) {
	r.selectRegister(slot, reg)
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	r.config.Write(4, p[:])
}

func (r *rig) selectRegister(slot, reg uint32) {
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], 1<<31|slot<<11|reg)
	r.config.Write(0, p[:])
}

// at reads a byte of the memory bus, 0xff if nobody answers.
func (r *rig) at(addr uint64) byte {
	var p [1]byte
	r.memory.Read(addr, p[:])
	return p[0]
}

func TestIdentity(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct{ slot, reg, want uint32 }{
		{0, 0, 0x00081b36}, {0, 8, 0x06000000}, {1, 0, 0x10411af4}, {1, 8, 0x02000001}, {2, 0, 0x10411af4},
		{3, 0, 0xffffffff}, {31, 0, 0xffffffff}, {1, 0x3c, 0},
	} {
		if got := r.read(tt.slot, tt.reg); got != tt.want {
			t.Errorf("slot %d register %#x is %#x, want %#x", tt.slot, tt.reg, got, tt.want)
		}
		var p [4]byte
		r.root.ECAM().Read(uint64(tt.slot<<15|tt.reg), p[:])
		if got := binary.LittleEndian.Uint32(p[:]); got != tt.want {
			t.Errorf("slot %d register %#x by memory is %#x, want %#x", tt.slot, tt.reg, got, tt.want)
		}
	}
	r.write(1, 0, 0)
	if got := r.read(1, 0); got != 0x10411af4 {
		t.Errorf("the vendor was written: %#x", got)
	}
	// Another function of the device, another bus, and the mechanism turned off.
	for _, address := range []uint32{1<<31 | 1<<11 | 1<<8, 1<<31 | 1<<16 | 1<<11, 1 << 11} {
		var p [4]byte
		binary.LittleEndian.PutUint32(p[:], address)
		r.config.Write(0, p[:])
		r.config.Read(4, p[:])
		if got := binary.LittleEndian.Uint32(p[:]); got != 0xffffffff {
			t.Errorf("address %#x reads %#x", address, got)
		}
	}
}

// TestPorts holds what is among the configuration ports: the address, which only takes four bytes, and the reset
// register.
func TestPorts(t *testing.T) {
	r := newRig(t)
	h := r.root.ConfigPorts(registers(0x5a))
	h.Write(0, []byte{1, 2, 3})
	h.Write(0, []byte{0xff, 0xff, 0xff, 0xff})
	p := make([]byte, 4)
	if h.Read(0, p); binary.LittleEndian.Uint32(p) != 0x80fffffc {
		t.Errorf("the address reads % x", p)
	}
	if h.Read(1, p[:1]); p[0] != 0x5a {
		t.Errorf("the reset register reads %#x", p[0])
	}
	if r.config.Read(1, p[:1]); p[0] != 0xff {
		t.Errorf("no reset register reads %#x", p[0])
	}
	// A byte of a register by its own port.
	r.selectRegister(1, 0)
	if h.Read(6, p[:2]); binary.LittleEndian.Uint16(p) != 0x1041 {
		t.Errorf("port 0xcfe reads % x", p[:2])
	}
}

func TestSizing(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct{ reg, placed, sized uint32 }{
		{0x10, 0xc000_0004, 0xffff_8004}, {0x14, 0, 0xffff_ffff}, {0x18, 0x1001, 0xffff_ffe1}, {0x1c, 0, 0}, {0x24, 0, 0}, {0x30, 0, 0},
	} {
		if got := r.read(1, tt.reg); got != tt.placed {
			t.Errorf("register %#x is %#x at first, want %#x", tt.reg, got, tt.placed)
		}
		r.write(1, tt.reg, 0xffffffff)
		if got := r.read(1, tt.reg); got != tt.sized {
			t.Errorf("register %#x is %#x after ones, want %#x", tt.reg, got, tt.sized)
		}
		r.write(1, tt.reg, tt.placed)
	}
	if got := r.read(2, 0x10); got != 0xc000_8004 {
		t.Errorf("the second function is at %#x", got)
	}
	if len(r.moves) != 0 {
		t.Errorf("moves of what is not enabled: %v", r.moves)
	}
}

func TestMove(t *testing.T) {
	r := newRig(t)
	if r.at(0xc000_0000) != 0xff {
		t.Fatal("answers before it is enabled")
	}
	r.write(1, 4, 3)
	r.write(2, 4, 3)
	var p [1]byte
	if r.ports.Read(0x1020, p[:]); r.at(0xc000_0000) != 1 || r.at(0xc000_ffff) != 2 || p[0] != 0x12 {
		t.Fatal("does not answer")
	}
	// The second onto the first: the first stays. Then the first goes away.
	r.write(2, 0x10, 0xc000_0000)
	if r.at(0xc000_0000) != 1 || r.at(0xc000_8000) != 0xff {
		t.Error("a BAR hides another")
	}
	r.write(1, 0x14, 0x12)
	if r.at(0xc000_0000) != 2 || r.at(0x12_c000_0000) != 1 {
		t.Error("the BARs did not move")
	}
	// To the end of the address space, where the registers' size makes no region wrap around.
	r.write(1, 0x14, 0xffffffff)
	r.write(1, 0x10, 0xffffffff)
	if r.at(0xffff_ffff_ffff_8000) != 1 {
		t.Error("the last 32 KiB cannot be had")
	}
	r.write(1, 4, 0)
	r.write(2, 4, 1)
	if r.at(0xffff_ffff_ffff_8000) != 0xff || r.at(0xc000_0000) != 0xff {
		t.Error("answers though it is disabled")
	}
	want := []string{
		"f1 0xc0000000 true", "f2 0xc0008000 true", "f2 0xc0008000 false", "f1 0xc0000000 false", "f1 0x12c0000000 true", "f2 0xc0000000 true",
		"f1 0x12c0000000 false", "f1 0xffffffffc0000000 true", "f1 0xffffffffc0000000 false", "f1 0xffffffffffff8000 true",
		"f1 0xffffffffffff8000 false", "f2 0xc0000000 false",
	}
	if fmt.Sprint(r.moves) != fmt.Sprint(want) {
		t.Errorf("moves\n%q, want\n%q", r.moves, want)
	}
}

// TestOntoPlatform moves BARs to where the machine's own devices are.
func TestOntoPlatform(t *testing.T) {
	r := newRig(t)
	must(t, r.memory.Add(0xe000_0000, 0x1000, "platform", registers(0x77)))
	must(t, r.ports.Add(0x60, 5, "keyboard", registers(0x78)))
	r.write(1, 0x10, 0xe000_0000)
	r.write(1, 0x18, 0x60)
	r.write(1, 4, 3)
	var p [1]byte
	if r.ports.Read(0x60, p[:]); r.at(0xe000_0000) != 0x77 || p[0] != 0x78 {
		t.Error("a BAR took the place of a platform device")
	}
}

func TestRefusals(t *testing.T) {
	for name, b := range map[string]BAR{
		"no power of two": {Size: 0x3000}, "below a page": {Size: 0x800}, "too many ports": {Space: Ports, Size: 512},
		"no such register": {Index: 5, Size: 0x1000}, "taken": {Index: 1, Size: 0x1000}, "negative": {Index: -1, Size: 0x1000},
	} {
		f := NewFunction("f", ID{})
		must(t, f.AddBAR(BAR{Index: 0, Size: 0x1000, Handler: registers(0)}))
		if err := f.AddBAR(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	f := NewFunction("f", ID{})
	if _, err := f.AddCapability(9, make([]byte, 300), nil); err == nil {
		t.Error("a capability of 300 bytes was taken")
	}
	r := newRig(t)
	big := NewFunction("big", ID{})
	must(t, big.AddBAR(BAR{Index: 0, Size: 0x2000_0000, Handler: registers(0)}))
	if _, err := r.root.Add(big); err == nil {
		t.Error("a BAR larger than the window was placed")
	}
	for range Slots - 3 {
		if _, err := r.root.Add(NewFunction("f", ID{})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.root.Add(NewFunction("f", ID{})); err == nil {
		t.Error("33 slots")
	}
}

func TestCapabilities(t *testing.T) {
	f := NewFunction("f", ID{})
	first, err := f.AddCapability(9, []byte{1, 2, 3}, []byte{0, 0xf0})
	must(t, err)
	second, err := f.AddCapability(0x11, []byte{4, 5}, nil)
	must(t, err)
	hooked := first + 4
	f.AddWindow(hooked, 1, registers(0x99))
	p := make([]byte, 256)
	for i := range p {
		f.Write(uint64(i), []byte{0xff})
		f.Read(uint64(i), p[i:i+1])
	}
	if p[0x34] != byte(first) || p[6]&0x10 == 0 {
		t.Errorf("the list begins at %#x, status %#x", p[0x34], p[6])
	}
	if got, want := p[first:first+5], []byte{9, byte(second), 1, 0xf2, 0x99}; !bytes.Equal(got, want) {
		t.Errorf("first capability % x, want % x", got, want)
	}
	if got, want := p[second:second+4], []byte{0x11, 0, 4, 5}; !bytes.Equal(got, want) {
		t.Errorf("second capability % x, want % x", got, want)
	}
}

func TestAccessesOutOfBounds(t *testing.T) {
	r := newRig(t)
	e := r.root.ECAM()
	for _, off := range []uint64{0xffe, 0x8000 + 0xfff, ECAMSize - 4, 1<<15 | 0xfd, 1<<15 | 256} {
		for _, n := range []int{1, 2, 4, 8} {
			p := make([]byte, n)
			e.Write(off, p)
			e.Read(off, p)
		}
	}
	p := bytes.Repeat([]byte{0xaa}, 8)
	if e.Read(1<<15|0x400, p); !bytes.Equal(p, make([]byte, 8)) {
		t.Errorf("the extended space reads % x", p)
	}
}

func TestState(t *testing.T) {
	r, other := newRig(t), newRig(t)
	r.write(1, 4, 3)
	r.write(1, 0x14, 5)
	saved, err := r.functions[0].SaveState()
	must(t, err)
	must(t, other.functions[0].RestoreState(saved))
	again, err := other.functions[0].SaveState()
	must(t, err)
	if !bytes.Equal(saved.Data, again.Data) {
		t.Errorf("saved %s, then %s", saved.Data, again.Data)
	}
	if other.at(0x5_c000_0000) != 1 {
		t.Error("the BAR is not where it was")
	}
	for _, s := range []functionState{{}, {Space: make([]byte, 256)}, {Space: r.functions[0].space[:], Entries: make([]entryState, 1)}} {
		state, err := devices.EncodeState(stateVersion, s)
		must(t, err)
		if err := other.functions[0].RestoreState(state); !errors.Is(err, devices.ErrState) {
			t.Errorf("error %v", err)
		}
	}
}

// FuzzConfig lets a guest write what it likes, where it likes.
func FuzzConfig(f *testing.F) {
	f.Add([]byte{0, 0x80, 4, 2, 0xff, 0xff, 1, 0x80, 0x10, 4, 0, 0, 0, 0xe0})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRig(t)
		e := r.root.ECAM()
		for len(script) > 3 {
			off := uint64(script[0]&0xf)<<16 | uint64(script[1])<<8 | uint64(script[2])
			n := min(1<<(script[3]&3), len(script)-3)
			if script = script[3:]; n == 3 || n > len(script) {
				return
			}
			e.Write(off, script[:n])
			e.Read(off, make([]byte, n))
			script = script[n:]
		}
		for _, fn := range r.functions {
			s, err := fn.SaveState()
			must(t, err)
			must(t, fn.RestoreState(s))
		}
	})
}
