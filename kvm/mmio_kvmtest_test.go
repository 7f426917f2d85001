//go:build kvmtest

package kvm

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func wantMMIO(t testing.TB, v *VCPU, addr uint64, write bool, size int) []byte {
	t.Helper()
	exit := want(t, v, ExitMMIO)
	mmio := exit.MMIO()
	if mmio.Addr != addr || mmio.Write != write || len(mmio.Data) != size {
		t.Fatalf("%v, want %s of %#x, %d bytes", exit, direction(write), addr, size)
	}
	return mmio.Data
}

func TestLongModeMMIO(t *testing.T) {
	g, v := realMode(t, []byte{
		0x48, 0xb8, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, // mov rax, 0x0123456789abcdef
		0xbb, 0x00, 0x00, 0x00, 0x10, // mov ebx, 0x10000000
		0x88, 0x03, // mov [rbx], al
		0x66, 0x89, 0x43, 0x02, // mov [rbx+2], ax
		0x89, 0x43, 0x04, // mov [rbx+4], eax
		0x48, 0x89, 0x43, 0x08, // mov [rbx+8], rax
		0xb9, 0x00, 0x80, 0x00, 0x00, // mov ecx, 0x8000
		0x8a, 0x03, // mov al, [rbx]
		0x88, 0x01, // mov [rcx], al
		0x66, 0x8b, 0x43, 0x02, // mov ax, [rbx+2]
		0x66, 0x89, 0x41, 0x02, // mov [rcx+2], ax
		0x8b, 0x43, 0x04, // mov eax, [rbx+4]
		0x89, 0x41, 0x04, // mov [rcx+4], eax
		0x48, 0x8b, 0x43, 0x08, // mov rax, [rbx+8]
		0x48, 0x89, 0x41, 0x08, // mov [rcx+8], rax
		0xf4, // hlt
	})
	g.longMode(v)
	all := binary.LittleEndian.AppendUint64(nil, 0x0123456789abcdef)
	for _, w := range []struct{ off, size int }{{0, 1}, {2, 2}, {4, 4}, {8, 8}} {
		if got := wantMMIO(t, v, mmioAddr+uint64(w.off), true, w.size); !bytes.Equal(got, all[:w.size]) {
			t.Errorf("the guest wrote % x, want % x", got, all[:w.size])
		}
	}
	for _, w := range []struct{ off, size int }{{0, 1}, {2, 2}, {4, 4}, {8, 8}} {
		answer := wantMMIO(t, v, mmioAddr+uint64(w.off), false, w.size)
		for i := range answer {
			answer[i] = byte(w.off + i + 0x40)
		}
	}
	want(t, v, ExitHlt)
	if got, want := g.ram[dataAddr:][:16], []byte("@\x00BCDEFGHIJKLMNO"); !bytes.Equal(got, want) {
		t.Errorf("the guest read %q, want %q", got, want)
	}

	tr := must1[Translation](t)(v.Translate(0x1234))
	if tr.Valid == 0 || tr.Physical != 0x1234 {
		t.Errorf("0x1234 translates to %+v", tr)
	}
	if tr = must1[Translation](t)(v.Translate(1 << 40)); tr.Valid != 0 {
		t.Errorf("an address that is not mapped translates to %+v", tr)
	}
}

func TestProtectedMode(t *testing.T) {
	g, v := realMode(t, []byte{
		0xb8, 0x78, 0x56, 0x34, 0x12, // mov eax, 0x12345678
		0xa3, 0x00, 0x80, 0x00, 0x00, // mov [0x8000], eax
		0xa3, 0x00, 0x00, 0x00, 0x10, // mov [0x10000000], eax
		0x03, 0x05, 0x04, 0x00, 0x00, 0x10, // add eax, [0x10000004]
		0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xef, // out dx, eax
		0xf4, // hlt
	})
	g.protectedMode(v)
	value := []byte{0x78, 0x56, 0x34, 0x12}
	if got := wantMMIO(t, v, mmioAddr, true, 4); !bytes.Equal(got, value) {
		t.Errorf("the guest wrote % x", got)
	}
	copy(wantMMIO(t, v, mmioAddr+4, false, 4), []byte{1, 1, 1, 1})
	wantOut(t, v, conPort, 0x79, 0x57, 0x35, 0x13)
	want(t, v, ExitHlt)
	if got := g.ram[dataAddr:][:4]; !bytes.Equal(got, value) {
		t.Errorf("memory holds % x", got)
	}
}

func TestReadOnlyMemory(t *testing.T) {
	g, v := realMode(t, []byte{
		0xa0, 0x00, 0x90, // mov al, [0x9000]
		0xfe, 0xc0, // inc al
		0xa2, 0x01, 0x90, // mov [0x9001], al
		0xf4, // hlt
	})
	must(t, g.dev.Require(CapReadonlyMem))
	// The slot at 0 has to make room: below, above, and between them read-only.
	must(t, g.vm.SetMemory(MemorySlot{}))
	must(t, g.vm.SetMemory(MemorySlot{Slot: 0, Mem: g.ram[:0x9000]}))
	must(t, g.vm.SetMemory(MemorySlot{Slot: 1, GuestPhys: 0x9000, Mem: g.ram[0x9000:0xa000], Flags: MemReadOnly}))
	g.ram[0x9000] = 6
	if got := wantMMIO(t, v, 0x9001, true, 1); got[0] != 7 {
		t.Errorf("the guest wrote %d", got[0])
	}
	want(t, v, ExitHlt)
	if g.ram[0x9001] != 0 {
		t.Error("a write reached read-only memory")
	}
}

func TestDirtyLog(t *testing.T) {
	g, v := realMode(t, []byte{
		0xc6, 0x06, 0x00, 0x30, 0x01, // mov byte [0x3000], 1
		0xc6, 0x06, 0xff, 0x5f, 0x01, // mov byte [0x5fff], 1
		0xf4,                         // hlt
		0xc6, 0x06, 0x00, 0x80, 0x01, // mov byte [0x8000], 1
		0xf4, // hlt
	})
	must(t, g.vm.SetMemory(MemorySlot{Mem: g.ram, Flags: MemLogDirtyPages}))
	log := make([]uint64, DirtyLogLen(len(g.ram)))
	must(t, g.vm.DirtyLog(0, log))
	want(t, v, ExitHlt)
	for _, pages := range []uint64{1<<3 | 1<<5, 1 << 8, 0} {
		for i := range log {
			log[i] = ^uint64(0)
		}
		must(t, g.vm.DirtyLog(0, log))
		// KVM may count the code's page too: it maps a page writable, and notes that
		// it did, although the guest only reads it.
		if got := log[0] &^ (1 << (codeAddr / pageSize)); got != pages {
			t.Errorf("dirty pages %#b, want %#b", got, pages)
		}
		for i, w := range log[1:] {
			if w != 0 {
				t.Errorf("word %d of the log is %#x", i+1, w)
			}
		}
		if pages == 1<<3|1<<5 {
			want(t, v, ExitHlt)
		}
	}
}

func TestTripleFault(t *testing.T) {
	g, v := realMode(t, []byte{
		0x0f, 0x0b, // ud2
	})
	g.protectedMode(v)
	s := must1[Sregs](t)(v.Sregs())
	s.IDT = DTable{} // no room for a handler, nor for the double fault's
	must(t, v.SetSregs(s))
	want(t, v, ExitShutdown)
}

func TestSingleStep(t *testing.T) {
	_, v := realMode(t, []byte{
		0x90,       // nop
		0xb0, 0x07, // mov al, 7
		0x90, // nop
		0xf4, // hlt
	})
	must(t, v.SetGuestDebug(GuestDebug{Control: GuestDebugEnable | GuestDebugSingleStep}))
	for _, pc := range []uint64{codeAddr + 1, codeAddr + 3, codeAddr + 4} {
		exit := want(t, v, ExitDebug)
		d := exit.Debug()
		if d.Exception != 1 || d.PC != pc || d.DR6&(1<<14) == 0 {
			t.Errorf("%+v, want a single step to %#x", d, pc)
		}
	}
	must(t, v.SetGuestDebug(GuestDebug{}))
	want(t, v, ExitHlt)
}

func TestBreakpoint(t *testing.T) {
	_, v := realMode(t, []byte{
		0x90, // nop
		0x90, // nop
		0x90, // nop
		0xf4, // hlt
	})
	d := GuestDebug{Control: GuestDebugEnable | GuestDebugUseHWBP}
	d.DebugReg[0] = codeAddr + 2
	d.DebugReg[7] = 1<<10 | 1<<1 // DR0, global, execution
	must(t, v.SetGuestDebug(d))
	exit := next(t, v)
	if exit.Reason == ExitHlt && emulatedHost() {
		t.Log("not tested here: QEMU's processor does not load a guest's breakpoints")
		return
	}
	if got := exit.Debug(); got.Exception != 1 || got.PC != codeAddr+2 || got.DR6&1 == 0 {
		t.Errorf("%+v, want a break at %#x", got, codeAddr+2)
	}
	must(t, v.SetGuestDebug(GuestDebug{}))
	want(t, v, ExitHlt)
}
