package main

import (
	"debug/elf"
	"testing"
)

// TestLayout holds that the zeroed variables which the program uses lie on one side of a multiple of 2 MiB. Behind them are 32 MiB of the standard library's that nobody touches, so where
// some of the others lie among those the host's kernel gives the process a huge page for them: 2 MiB to clear at each start, and to keep.
func TestLayout(t *testing.T) {
	const hugePage, untouched = 2 << 20, 32 << 20
	f, err := elf.Open("../../bin/govmm")
	if err != nil {
		t.Fatalf("%v; make build", err)
	}
	defer f.Close()
	bss, large := f.Section(".bss"), f.Section(".noptrbss")
	if bss == nil || large == nil || large.Size < untouched {
		t.Fatalf("sections .bss %v and .noptrbss %v are not what -T in the Makefile was chosen for", bss, large)
	}
	// Go's linker puts variables in the order of their sizes.
	if end := large.Addr + large.Size - untouched; bss.Addr/hugePage != end/hugePage {
		t.Errorf("zeroed variables lie from %#x to %#x, on both sides of a multiple of 2 MiB; choose another -T in the Makefile", bss.Addr, end)
	}
}
