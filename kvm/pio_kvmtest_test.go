//go:build kvmtest

package kvm

import (
	"bytes"
	"testing"
)

func TestRealMode(t *testing.T) {
	_, v := realMode(t, []byte{
		0xb0, 0x02, // mov al, 2
		0x04, 0x02, // add al, 2
		0x04, '0', // add al, '0'
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee, // out dx, al
		0xf4, // hlt
	})
	wantOut(t, v, conPort, '4')
	want(t, v, ExitHlt)
	regs := must1[Regs](t)(v.Regs())
	if regs.RIP != codeAddr+11 || regs.RAX&0xff != '4' || regs.RDX != conPort {
		t.Errorf("registers %+v", regs)
	}
}

func TestPortWrite(t *testing.T) {
	_, v := realMode(t, []byte{
		0xb8, 0x34, 0x12, // mov ax, 0x1234
		0xe6, 0x80, // out 0x80, al
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee,                               // out dx, al
		0xef,                               // out dx, ax
		0x66, 0xb8, 0xde, 0xbc, 0x9a, 0x78, // mov eax, 0x789abcde
		0x66, 0xef, // out dx, eax
		0xba, 0xff, 0xff, // mov dx, 0xffff
		0xee, // out dx, al
		0xf4, // hlt
	})
	wantOut(t, v, 0x80, 0x34)
	wantOut(t, v, conPort, 0x34)
	wantOut(t, v, conPort, 0x34, 0x12)
	wantOut(t, v, conPort, 0xde, 0xbc, 0x9a, 0x78)
	wantOut(t, v, 0xffff, 0xde)
	want(t, v, ExitHlt)
}

func TestPortRead(t *testing.T) {
	g, v := realMode(t, []byte{
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xec,             // in al, dx
		0xa2, 0x00, 0x80, // mov [0x8000], al
		0xed,             // in ax, dx
		0xa3, 0x02, 0x80, // mov [0x8002], ax
		0x66, 0xed, // in eax, dx
		0x66, 0xa3, 0x04, 0x80, // mov [0x8004], eax
		0xe4, 0x61, // in al, 0x61
		0xa2, 0x01, 0x80, // mov [0x8001], al
		0xf4, // hlt
	})
	answer(t, v, conPort, 0x11)
	answer(t, v, conPort, 0x22, 0x33)
	answer(t, v, conPort, 0x44, 0x55, 0x66, 0x77)
	answer(t, v, 0x61, 0x88)
	want(t, v, ExitHlt)
	if got, want := g.ram[dataAddr:][:8], []byte{0x11, 0x88, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77}; !bytes.Equal(got, want) {
		t.Errorf("the guest read % x, want % x", got, want)
	}
}

// TestStringIO moves five items of each width with one instruction. KVM may hand over
// several at a time.
func TestStringIO(t *testing.T) {
	tests := []struct {
		name string
		size int
		in   bool
		insn []byte
	}{
		{"outsb", 1, false, []byte{0xf3, 0x6e}},       // rep outsb
		{"outsw", 2, false, []byte{0xf3, 0x6f}},       // rep outsw
		{"outsd", 4, false, []byte{0x66, 0xf3, 0x6f}}, // rep outsd
		{"insb", 1, true, []byte{0xf3, 0x6c}},         // rep insb
		{"insw", 2, true, []byte{0xf3, 0x6d}},         // rep insw
		{"insd", 4, true, []byte{0x66, 0xf3, 0x6d}},   // rep insd
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, v := realMode(t, code([]byte{
				0xfc,             // cld
				0xba, 0xf8, 0x03, // mov dx, 0x3f8
				0xb9, 0x05, 0x00, // mov cx, 5
				0xbe, 0x00, 0x80, // mov si, 0x8000
				0xbf, 0x00, 0x80, // mov di, 0x8000
			}, tt.insn, []byte{
				0xf4, // hlt
			}))
			data := []byte("twenty bytes of text")[:5*tt.size]
			if !tt.in {
				copy(g.ram[dataAddr:], data)
			}
			moved := 0
			for moved < len(data) {
				exit := want(t, v, ExitIO)
				io := exit.IO()
				if io.Write == tt.in || io.Size != tt.size || io.Port != conPort || len(io.Data) != io.Size*io.Count ||
					len(io.Data) == 0 || moved+len(io.Data) > len(data) {
					t.Fatalf("%v with %d bytes of data after %d", exit, len(io.Data), moved)
				}
				if part := data[moved:][:len(io.Data)]; tt.in {
					copy(io.Data, part)
				} else if !bytes.Equal(io.Data, part) {
					t.Errorf("the guest wrote %q, want %q", io.Data, part)
				}
				moved += len(io.Data)
			}
			want(t, v, ExitHlt)
			if got := g.ram[dataAddr:][:len(data)]; !bytes.Equal(got, data) {
				t.Errorf("memory holds %q, want %q", got, data)
			}
			if regs := must1[Regs](t)(v.Regs()); regs.RCX&0xffff != 0 {
				t.Errorf("cx is %d", regs.RCX)
			}
		})
	}
}

// TestPendingRead saves the registers between an IN and its completion: the answer
// is in them only after KVM_RUN was entered once more.
func TestPendingRead(t *testing.T) {
	_, v := realMode(t, []byte{
		0xe4, 0x61, // in al, 0x61
		0xf4, // hlt
	})
	answer(t, v, 0x61, 0x5a)
	v.SetImmediateExit(true)
	exit, err := v.Run()
	must(t, err)
	if exit.Reason != ExitIntr {
		t.Fatalf("%v, want KVM_EXIT_INTR", exit)
	}
	regs := must1[Regs](t)(v.Regs())
	if regs.RIP != codeAddr+2 || regs.RAX&0xff != 0x5a {
		t.Errorf("at %#x with al %#x, want %#x and 0x5a", regs.RIP, regs.RAX&0xff, codeAddr+2)
	}
	v.SetImmediateExit(false)
	want(t, v, ExitHlt)
}

func TestRunAllocs(t *testing.T) {
	_, v := realMode(t, []byte{
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee,       // out dx, al
		0xeb, 0xfd, // jmp to the out
	})
	if n := testing.AllocsPerRun(200, func() {
		if exit := next(t, v); exit.IO().Port != conPort {
			t.Fatal(exit)
		}
	}); n != 0 {
		t.Errorf("%v allocations in a Run that exits for I/O", n)
	}
	v.SetImmediateExit(true)
	if n := testing.AllocsPerRun(200, func() {
		if exit, err := v.Run(); err != nil || exit.Reason != ExitIntr {
			t.Fatal(exit, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations in a Run that is interrupted", n)
	}
}
