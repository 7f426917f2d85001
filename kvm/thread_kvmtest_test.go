//go:build kvmtest

package kvm

import (
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spin is a guest that never exits.
var spin = []byte{
	0xeb, 0xfe, // jmp to itself
}

// spinAndExit is a guest that computes, exits, and computes again, so that Run keeps
// going back to the raw way into the kernel.
var spinAndExit = []byte{
	0x66, 0xb9, 0x00, 0x40, 0x00, 0x00, // mov ecx, 0x4000
	0x66, 0x49, // dec ecx
	0x75, 0xfc, // jnz to the dec
	0xe6, 0x80, // out 0x80, al
	0xeb, 0xf2, // jmp to the start
}

// roomFor makes GOMAXPROCS as large as a process with vcpus VCPUs should have it.
func roomFor(t testing.TB, vcpus int) {
	old := runtime.GOMAXPROCS(runtime.NumCPU() + vcpus)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// kickLimit is generous: a development machine's processors are shared by many.
const kickLimit = time.Second

func TestKick(t *testing.T) {
	roomFor(t, 1)
	_, v := realMode(t, spin)
	var took []time.Duration
	for range 5 {
		r := start(t, v)
		time.Sleep(30 * time.Millisecond)
		took = append(took, r.kick(t))
		if r.exit != ExitIntr {
			t.Errorf("%v after a kick", r.exit)
		}
	}
	// The machine may be busy; a kick that does not work takes no less each time.
	if best := slices.Min(took); best > 100*time.Millisecond {
		t.Errorf("the quickest of the kicks took %v", took)
	}
	if regs := must1[Regs](t)(v.Regs()); regs.RIP != codeAddr {
		t.Errorf("at %#x after the kicks", regs.RIP)
	}
}

// TestImmediateExit sets the flag before Run: the guest is not entered at all.
func TestImmediateExit(t *testing.T) {
	_, v := realMode(t, []byte{
		0xe6, 0x80, // out 0x80, al
		0xf4, // hlt
	})
	v.SetImmediateExit(true)
	for range 3 {
		exit, err := v.Run()
		must(t, err)
		if exit.Reason != ExitIntr {
			t.Fatal(exit)
		}
	}
	v.SetImmediateExit(false)
	wantOut(t, v, 0x80, 0)
}

// TestGC collects garbage while guests run: the world stops although their threads
// are inside KVM_RUN.
func TestGC(t *testing.T) {
	for name, code := range map[string][]byte{"spin": spin, "spin and exit": spinAndExit} {
		t.Run(name, func(t *testing.T) {
			roomFor(t, 1)
			_, v := realMode(t, code)
			r := start(t, v)
			var worst time.Duration
			for range 50 {
				begin := time.Now()
				runtime.GC()
				worst = max(worst, time.Since(begin))
			}
			took := r.kick(t)
			t.Logf("50 collections, the worst took %v; interrupted %d times, %d exits; a kick took %v", worst, r.intrs, r.ios, took)
			if took > kickLimit {
				t.Errorf("a kick took %v", took)
			}
		})
	}
}

// TestUseOfRunningVCPU calls methods from another goroutine while the guest spins.
func TestUseOfRunningVCPU(t *testing.T) {
	roomFor(t, 1)
	_, v := realMode(t, spin)
	r := start(t, v)
	// Between two calls of Run the VCPU is free for a moment; the runner puts up with
	// finding it taken then.
	busy := func(call func() error) (err error) {
		for range 1000 {
			if err = call(); errors.Is(err, unix.EBUSY) {
				return nil
			}
		}
		return err
	}
	if err := busy(func() error { _, err := v.Regs(); return err }); err != nil {
		t.Errorf("Regs gives %v", err)
	}
	r.kick(t)
	if _, err := v.Regs(); err != nil {
		t.Errorf("afterwards Regs gives %v", err)
	}
}

func TestClose(t *testing.T) {
	dev := openDevice(t)
	before := len(leftovers())
	vm := must1[*VM](t)(dev.CreateVM())
	v := must1[*VCPU](t)(vm.CreateVCPU(0))
	if n := len(leftovers()) - before; n != 3 {
		t.Errorf("a VM and a VCPU are %d descriptors and mappings, want 3", n)
	}

	// A VCPU keeps its VM alive, and works after its VM's Close.
	must(t, vm.Close())
	if _, err := v.Regs(); err != nil {
		t.Errorf("after VM.Close Regs gives %v", err)
	}
	must(t, v.Close())
	must(t, v.Close())
	must(t, vm.Close())
	if left := leftovers(); len(left) != before {
		t.Errorf("left open: %v", left)
	}

	exit, err := v.Run()
	if exit != nil || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Run after Close gives %v, %v", exit, err)
	}
	if _, err := v.Regs(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Regs after Close gives %v", err)
	}
	v.SetImmediateExit(true)
	if _, err := vm.CreateVCPU(1); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("CreateVCPU after Close gives %v", err)
	}
}

// TestExitAfterClose asks an old Exit for its details.
func TestExitAfterClose(t *testing.T) {
	_, v := realMode(t, []byte{
		0xe6, 0x80, // out 0x80, al
	})
	exit := want(t, v, ExitIO)
	must(t, v.Close())
	if io := exit.IO(); io.Data != nil {
		t.Error("an Exit outlives its VCPU")
	}
	_ = exit.String()
}

// TestCreateMany creates and closes enough that a leak would show.
func TestCreateMany(t *testing.T) {
	dev := openDevice(t)
	before := len(leftovers())
	for range 20 {
		vm := must1[*VM](t)(dev.CreateVM())
		for id := range 2 {
			v := must1[*VCPU](t)(vm.CreateVCPU(id))
			defer closeOK(t, v)
		}
		if _, err := vm.CreateVCPU(0); !errors.Is(err, unix.EEXIST) {
			t.Errorf("a second VCPU 0 gives %v", err)
		}
		must(t, vm.Close())
	}
	t.Cleanup(func() {
		if n := len(leftovers()) - before; n > 0 {
			t.Errorf("%d descriptors and mappings left", n)
		}
	})
}
