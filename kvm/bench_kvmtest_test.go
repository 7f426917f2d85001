//go:build kvmtest

package kvm

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// pioLoop writes to a port for ever. testdata/pioexit.c has the same guest.
var pioLoop = []byte{
	0xe6, 0x80, // out 0x80, al
	0xeb, 0xfc, // jmp to the out
}

// BenchmarkPIOExit measures one exit for port I/O and back: what KVM_RUN, the kernel and
// the processor take together. BenchmarkPIOExitC is the same in C.
func BenchmarkPIOExit(b *testing.B) {
	roomFor(b, 1)
	_, v := realMode(b, pioLoop)
	b.ReportAllocs()
	for b.Loop() {
		exit, err := v.Run()
		for err == nil && exit.Reason == ExitIntr {
			exit, err = v.Run()
		}
		if err != nil || exit.Reason != ExitIO {
			b.Fatal(exit, err)
		}
	}
}

// BenchmarkPIOExitC runs testdata/pioexit, which is compiled from the C source beside it:
//
//	cc -O2 -static -o testdata/pioexit testdata/pioexit.c
func BenchmarkPIOExitC(b *testing.B) {
	const exits = 20000
	if _, err := os.Stat("testdata/pioexit"); err != nil {
		b.Fatalf("%v\ncompile it first, in kvm: cc -O2 -static -o testdata/pioexit testdata/pioexit.c", err)
	}
	// The program times its own loop. Its time for one exit stands in for the
	// benchmark's, which includes starting it.
	var ns float64
	runs := 0
	for b.Loop() {
		out, err := exec.Command("testdata/pioexit", strconv.Itoa(exits)).Output()
		if err != nil {
			b.Fatal(err)
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			b.Fatal(err)
		}
		ns += n
		runs++
	}
	b.ReportMetric(ns/float64(runs), "ns/op")
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
