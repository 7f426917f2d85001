//go:build kvmtest

package kvm

import (
	"runtime"
	"testing"

	"govmm/devices/eventfd"
)

// The benchmarks of exits and doorbells have counterparts in C with the same guests, in testdata/exits.c;
// make bench runs them beside each other.

var (
	pioLoop = []byte{
		0xe6, 0x80, // out 0x80, al
		0xeb, 0xfc, // jmp to the out
	}
	mmioLoop = []byte{
		0xa2, 0x00, 0x00, 0x00, 0x10, // mov [0x10000000], al
		0xeb, 0xf9, // jmp to the mov
	}
	// doorbellLoop counts in BL, rings and waits until its count is in memory.
	doorbellLoop = []byte{
		0xfe, 0xc3, // inc bl
		0xa3, 0x00, 0x00, 0x00, 0x10, // mov [0x10000000], eax
		0xf3, 0x90, // pause
		0x3a, 0x1d, 0x00, 0x80, 0x00, 0x00, // cmp bl, [0x8000]
		0x75, 0xf6, // jne to the pause
		0xeb, 0xed, // jmp to the inc
	}
)

// warmUp is the number of rounds before those that are measured.
const warmUp = 100

// BenchmarkPIOExit measures one exit for port I/O and back: what KVM_RUN, the kernel and
// the processor take together.
func BenchmarkPIOExit(b *testing.B) { benchmarkExit(b, pioLoop, ExitIO) }

// BenchmarkMMIOExit measures the same for an address that has no memory, whose access KVM has to decode.
func BenchmarkMMIOExit(b *testing.B) { benchmarkExit(b, mmioLoop, ExitMMIO) }

func benchmarkExit(b *testing.B, code []byte, reason ExitReason) {
	roomFor(b, 1)
	g, v := realMode(b, code)
	g.protectedMode(v)
	round := func() {
		exit, err := v.Run()
		for err == nil && exit.Reason == ExitIntr {
			exit, err = v.Run()
		}
		if err != nil || exit.Reason != reason {
			b.Fatal(exit, err)
		}
	}
	for range warmUp {
		round()
	}
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
}

// BenchmarkDoorbell measures from a guest's write to the next: the write signals an eventfd, on which a goroutine
// waits as those of virtio queues do, and which answers in the guest's memory. The vCPU's thread does
// not leave the kernel.
func BenchmarkDoorbell(b *testing.B) {
	roomFor(b, 1)
	bell, err := eventfd.New()
	must(b, err)
	defer bell.Close()
	g, v := realMode(b, doorbellLoop)
	g.protectedMode(v)
	runtime.UnlockOSThread() // the waiter needs no thread of its own
	defer runtime.LockOSThread()
	must(b, g.vm.AssignIOEventFD(IOEventFD{FD: bell.FD(), Addr: mmioAddr, Len: 4}))
	r := start(b, v)
	number := byte(0)
	round := func() {
		must(b, bell.Wait())
		number++
		g.ram[dataAddr] = number
	}
	for range warmUp {
		round()
	}
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
	b.StopTimer()
	r.kick(b)
	if r.exit != ExitIntr {
		b.Fatal("the guest exited:", r.exit)
	}
}

func BenchmarkSetIRQLine(b *testing.B) {
	g := withIRQChip(b, haltLoop)
	b.ReportAllocs()
	for high := true; b.Loop(); high = !high {
		must(b, g.vm.SetIRQLine(5, high))
	}
}

func BenchmarkRegs(b *testing.B) {
	_, v := realMode(b, pioLoop)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Regs(); err != nil {
			b.Fatal(err)
		}
	}
}
