package main

import (
	"govmm/kvm"
	"govmm/machine/memory"
)

// The exercises of lesson 2. Change what stands here, then: go test ./examples/02-exits -exercise

// Exercise 1: a device at port 0x10. What the guest reads there is twice what it has written there last.
type doubler struct {
	last byte
}

func (d *doubler) access(a kvm.IO) {
	// a.Port, a.Write and a.Data say what the guest does.
}

// Exercise 2: a screen. From 0xb8000 on every even address is a character, every odd one its color. The guest writes to them, one or two bytes
// at a time, and reads them back. text gives the first n characters.
type screen struct {
	cells [4000]byte
}

func (s *screen) access(a kvm.MMIO) {}

func (s *screen) text(n int) string { return "" }

// Exercise 3: a whole text with one exit. The guest writes the address of the text to a port, as 4 bytes, the lowest first; where the text ends a byte
// is zero. take gives the text. The guest may lie: from an address without memory, from a text that does not end within 256 bytes, or where not 4
// bytes are written, nothing is taken, and the monitor goes on. `go doc ./machine/memory Memory` shows how to read the guest's memory.
func take(ram *memory.Memory, a kvm.IO) string { return "" }
