//go:build linuxtest

package machine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"govmm/bootimage"
	"govmm/bootimage/payload"
	"govmm/kvm"
	"govmm/machine/guesttest"
)

// TestSameAsTheKernelsOwn has each stock kernel unpack and randomize itself, stops it at the first instruction of the
// kernel proper, and compares its memory, byte by byte, with what the host makes for the same base.
func TestSameAsTheKernelsOwn(t *testing.T) {
	for _, name := range guesttest.Kernels {
		t.Run(name, func(t *testing.T) {
			kernel, err := os.ReadFile(guesttest.Kernel(t, name))
			if err != nil {
				t.Fatal(err)
			}
			plan := directPlan(t, kernel)
			ours := layOut(plan)
			theirs := stopAtEntry(t, kernel, plan)
			delta, ok := sameBase(plan, ours, theirs)
			if !ok {
				t.Error("the kernel's own relocation gives another image")
			} else {
				t.Logf("%d bytes are the same, mapped %#x higher than linked", len(ours), delta)
			}
		})
	}
}

// linkedAt is where all of these kernels are linked to lie, and where they stay in a guest
// with too little RAM to choose from.
const linkedAt = 16 << 20

// directPlan is the plan for a kernel at linkedAt, with a relocation for some other virtual base.
func directPlan(t *testing.T, kernel []byte) *bootimage.Plan {
	t.Helper()
	p, err := payload.Find(kernel)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := p.Unpack()
	if err != nil {
		t.Fatal(err)
	}
	bootimage.Trim(unpacked)
	for seed := range byte(10) {
		plan, err := bootimage.Load(kernel, bootimage.Params{
			Cmdline: "memmap=none", // or any word that has the kernel stay
			Memory: []bootimage.MemoryRange{
				{Addr: 0, Size: conventionalEnd, Type: bootimage.RAM},
				{Addr: highRAM, Size: 1<<30 - highRAM, Type: bootimage.RAM},
			},
			Unpacked: unpacked, Random: rand.NewChaCha8([32]byte{seed}),
		})
		if err != nil {
			t.Fatal(err)
		}
		if plan.Relocation != nil && plan.Relocation.Addr == linkedAt {
			return plan
		}
	}
	t.Fatal("ten random bases are all the linked one")
	return nil
}

// layOut gives the kernel's bytes as linked.
func layOut(plan *bootimage.Plan) []byte {
	load := make([]byte, plan.Relocation.Size)
	for _, s := range plan.Segments {
		if s.Source == bootimage.FromUnpacked {
			copy(load[s.Addr-linkedAt:], s.Data)
		}
	}
	return load
}

// stopAtEntry runs a guest until its kernel has unpacked itself.
func stopAtEntry(t *testing.T, kernel []byte, plan *bootimage.Plan) []byte {
	t.Helper()
	// Its own randomization finds no place beside its decompressor, so that the breakpoint's address is known.
	m, err := New(Config{Kernel: kernel, Memory: 96 << 20, Direct: DirectNever})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const dr7LocalEnable0 = 1 << 0 // of an execution breakpoint (AMD APM, volume 2, 13.1.1)
	debug := kvm.GuestDebug{Control: kvm.GuestDebugEnable | kvm.GuestDebugUseHWBP}
	debug.DebugReg[0], debug.DebugReg[7] = plan.Entry.PC, dr7LocalEnable0
	if err := m.vcpus[0].cpu.SetGuestDebug(debug); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, err = m.Run(ctx)
	var crash *CrashError
	if !errors.As(err, &crash) || crash.Exit != kvm.ExitDebug {
		t.Fatalf("the guest did not come to %#x: %v", plan.Entry.PC, err)
	}
	// Not the gaps between segments, where the decompressor leaves what it likes.
	load := make([]byte, plan.Relocation.Size)
	for _, s := range plan.Segments {
		if s.Source != bootimage.FromUnpacked {
			continue
		}
		if _, err := m.Memory().ReadAt(load[s.Addr-linkedAt:][:len(s.Data)], int64(s.Addr)); err != nil {
			t.Fatal(err)
		}
	}
	return load
}

// sameBase finds the base that theirs was relocated for, and reports whether ours is the same then.
func sameBase(plan *bootimage.Plan, ours, theirs []byte) (delta uint64, same bool) {
	if bytes.Equal(ours, theirs) {
		return 0, true // once in five hundred times
	}
	first := 0
	for ours[first] == theirs[first] {
		first++
	}
	// Bases are multiples of 2 MiB, so that the first byte that differs is a place's third or fourth.
	for _, at := range []int{first - 2, first - 3} {
		if at < 0 || at+4 > len(ours) {
			continue
		}
		moved := binary.LittleEndian.Uint32(theirs[at:]) - binary.LittleEndian.Uint32(ours[at:])
		for _, d := range []uint32{moved, -moved} { // -moved: in a place of the inverse kind
			r := *plan.Relocation
			r.Delta = uint64(d)
			load := bytes.Clone(ours)
			if err := r.Apply(load); err == nil && bytes.Equal(load, theirs) {
				return r.Delta, true
			}
		}
	}
	return 0, false
}
