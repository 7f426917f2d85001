package debug

import (
	"bytes"
	"errors"
	"testing"

	"govmm/gdbstub"
	"govmm/kvm"
	"govmm/machine/memory"
)

func newRAM(t *testing.T) *memory.Memory {
	t.Helper()
	m, err := memory.New([]memory.Range{{Base: 0, Size: 0x4000}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func bytesAt(t *testing.T, m *memory.Memory, addr uint64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := m.ReadAt(b, int64(addr)); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPatches(t *testing.T) {
	ram := newRAM(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	_, err := ram.WriteAt([]byte{1, 2, 3, 4}, 0x1000)
	must(err)
	p := newPatches(ram)
	must(p.insert(0xf1001, page{phys: 0x1001}))
	must(p.insert(0xf1001, page{phys: 0x1001}))
	must(p.insert(0xe1001, page{phys: 0x1001})) // another address of the same
	if got := bytesAt(t, ram, 0x1000, 4); !bytes.Equal(got, []byte{1, int3, 3, 4}) || !p.at(0x1001) || p.at(0x1000) {
		t.Errorf("% x", got)
	}
	b := make([]byte, 4)
	must(p.read(0x1000, b))
	if !bytes.Equal(b, []byte{1, 2, 3, 4}) {
		t.Errorf("a read shows the breakpoint: % x", b)
	}
	must(p.write(0x1000, []byte{5, 6}))
	if got := bytesAt(t, ram, 0x1000, 4); !bytes.Equal(got, []byte{5, int3, 3, 4}) {
		t.Errorf("after a write: % x", got)
	}
	must(p.remove(0xf1001))
	if got := bytesAt(t, ram, 0x1001, 1); got[0] != int3 {
		t.Error("the breakpoint of another address is gone")
	}
	must(p.remove(0xe1001))
	must(p.remove(0xe1001))
	if got := bytesAt(t, ram, 0x1000, 4); !bytes.Equal(got, []byte{5, 6, 3, 4}) || !p.empty() {
		t.Errorf("after removal: % x", got)
	}

	must(p.insert(0x1003, page{phys: 0x1003}))
	_, err = ram.WriteAt([]byte{9}, 0x1003) // the guest
	must(err)
	must(p.clear())
	if got := bytesAt(t, ram, 0x1003, 1); got[0] != 9 {
		t.Errorf("what the guest wrote is %d now", got[0])
	}
	for name, to := range map[string]page{"data": {phys: 0x1000, noExecute: true}, "no RAM": {phys: 0x1_0000_0000}} {
		if err := p.insert(0x1000, to); !errors.Is(err, gdbstub.EFAULT) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range uint64(maxPatches) {
		must(p.insert(i, page{phys: i}))
	}
	if err := p.insert(maxPatches, page{phys: maxPatches}); !errors.Is(err, gdbstub.ENOSPC) {
		t.Errorf("too many: %v", err)
	}
	must(p.clear())
}

func TestWatches(t *testing.T) {
	var w watches
	exec := gdbstub.Breakpoint{Kind: gdbstub.Hardware, Addr: 0xffff_ffff_8100_0001, Size: 1}
	write := gdbstub.Breakpoint{Kind: gdbstub.WatchWrite, Addr: 0x1004, Size: 12} // 4 bytes and 8
	for range 2 {
		if err := errors.Join(w.insert(exec), w.insert(write)); err != nil {
			t.Fatal(err)
		}
	}
	// Global enable bits of 0 to 2; kind and length 0, 1 and 4 bytes, 1 and 8 bytes.
	want := [8]uint64{exec.Addr, 0x1004, 0x1008, 0, 0, 0, 0, 1<<10 | 1<<1 | 1<<3 | 1<<5 | 0b1101<<20 | 0b1001<<24}
	if got := w.registers(); got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
	if b := w.hit(1 << 2); b == nil || *b != write {
		t.Errorf("%+v", b)
	}
	if b := w.hit(1 << 3); b != nil {
		t.Errorf("%+v", b)
	}
	access := gdbstub.Breakpoint{Kind: gdbstub.WatchAccess, Addr: 0x2001, Size: 2} // a byte and a byte
	if err := w.insert(access); !errors.Is(err, gdbstub.ENOSPC) || w.covers(0x2001) {
		t.Errorf("%v", err)
	}
	w.remove(write)
	if err := w.insert(access); err != nil || !w.covers(0x2001) || w.covers(0x1004) {
		t.Error(err)
	}
	w.remove(exec)
	w.remove(access)
	if !w.empty() {
		t.Errorf("%+v", w)
	}
	for _, b := range []gdbstub.Breakpoint{{Kind: gdbstub.WatchWrite, Addr: 1, Size: 32}, {Kind: gdbstub.WatchWrite, Addr: 8, Size: 1 << 62}, {Kind: gdbstub.WatchWrite, Addr: 8}} {
		if err := w.insert(b); !errors.Is(err, gdbstub.ENOSPC) || !w.empty() {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

// TestState holds that what is shown and taken back is the same, and that each part gets where it belongs.
func TestState(t *testing.T) {
	s := state{kernel: 1, regs: kvm.Regs{RAX: 2, R15: 3, RIP: 4, RFLAGS: 0x246}, fpu: kvm.FPU{FTWX: 0xa5, FCW: 0x37f, LastIP: 0x1_0000_0002}}
	s.sregs.CR3, s.sregs.GS.Base, s.sregs.CS.Selector, s.fpu.FPR[1][9], s.fpu.XMM[15][3] = 5, 6, 7, 8, 9
	r := s.show()
	if r.General[gdbstub.R15] != 3 || r.System.CR3 != 5 || r.GSBase != 6 || r.Segment[0] != 7 || r.ST[1][9] != 8 || r.XMM[15][3] != 9 || r.FPU[2] != 0x33cc {
		t.Errorf("%+v", r)
	}
	again := s
	again.take(r)
	if again != s {
		t.Errorf("%+v\n%+v", s, again)
	}
	r.General[gdbstub.RSP], r.RIP, r.Segment[0], r.System.KernelGSBase, r.FPU[2] = 10, 11, 12, 13, 0xffff
	again.take(r)
	if again.regs.RSP != 10 || again.regs.RIP != 11 || again.sregs.CS.Selector != 7 || again.kernel != 13 || again.fpu.FTWX != 0 {
		t.Errorf("%+v", again)
	}
}

// TestPrefixes holds that an INT3 is found behind what may stand before it.
func TestPrefixes(t *testing.T) {
	for _, tt := range []struct {
		code []byte
		want int
	}{
		{[]byte{int3, 0x66}, 0}, {[]byte{0x66, int3}, 1}, {[]byte{0xf3, 0x2e, 0x48, int3}, 3}, {[]byte{0x90, int3}, 0}, {[]byte{0x50, int3}, 0}, {[]byte{0x66, 0x67}, 2}, {nil, 0},
	} {
		if got := prefixes(tt.code); got != tt.want {
			t.Errorf("% x has %d bytes of prefixes, want %d", tt.code, got, tt.want)
		}
	}
}

// TestLate holds that an access which another vCPU made at the same time is told when the machine is to go on, and a breakpoint is not: its
// instruction was not executed.
func TestLate(t *testing.T) {
	watch := func(addr uint64) gdbstub.Breakpoint {
		return gdbstub.Breakpoint{Kind: gdbstub.WatchWrite, Addr: addr, Size: 8}
	}
	stops := []gdbstub.Stop{
		{CPU: 0, Reason: gdbstub.AtSoftware}, {CPU: 1, Reason: gdbstub.AfterWrite, Addr: 0x1000}, {CPU: 2, Reason: gdbstub.AtHardware},
		{CPU: 3, Reason: gdbstub.AfterWrite, Addr: 0x2000}, {CPU: 4, Reason: gdbstub.AfterAccess, Addr: 0x3000},
	}
	d := New("test", nil)
	for _, addr := range []uint64{0x1000, 0x2000, 0x3000} {
		if err := d.hard.insert(watch(addr)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range stops {
		d.post(s)
	}
	d.hard.remove(watch(0x2000))
	for _, want := range []gdbstub.Stop{stops[0], stops[1], stops[4]} {
		select {
		case <-d.news:
		default:
			t.Fatalf("no news of %+v", want)
		}
		if *d.event != want {
			t.Errorf("%+v, want %+v", *d.event, want)
		}
		if more := d.takeLate(); more != (want != stops[4]) {
			t.Errorf("after %+v: %v", want, more)
		}
	}
	if d.event != nil || len(d.news) != 0 {
		t.Errorf("%+v is left", d.event)
	}
}
