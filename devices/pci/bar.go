package pci

import (
	"encoding/binary"
	"fmt"

	"govmm/devices"
)

const barRegisters = 6

// Bits of a base address register that tell its kind (6.2.5.1).
const (
	barIO     = 1 << 0
	barWide   = 0b10 << 1 // memory, 64 bits
	barKindIO = 0b11
	barKind   = 0b1111
)

// A Space is one of the two address spaces that BARs lie in.
type Space int

const (
	Memory Space = iota
	Ports
)

// A BAR is a region of registers that software places.
type BAR struct {
	// Index is the number of its base address register: 0 to 4 for one in memory, which has 64 bits and takes
	// the next as well, 0 to 5 for one of ports.
	Index int
	Space Space
	// Size is a power of two: of memory at least a page, so that what is mapped to a
	// guest's user is nothing else; 4 to 256 ports.
	Size    uint64
	Handler devices.Handler
	// Moved, if set, is told that the region has begun to answer at addr, or does so no more. It is called with
	// one move at a time.
	Moved func(addr uint64, mapped bool)
}

// A bar is a BAR and where it is. The Root guards mapped and at.
type bar struct {
	BAR
	function *Function
	mapped   bool
	at       uint64
}

// AddBAR gives the function a region.
func (f *Function) AddBAR(b BAR) error {
	smallest, largest, registers := uint64(4096), uint64(1)<<40, 2
	if b.Space == Ports {
		smallest, largest, registers = 4, 256, 1
	}
	switch {
	case b.Size < smallest || b.Size > largest || b.Size&(b.Size-1) != 0:
		return fmt.Errorf("pci: %s: BAR %d cannot have a size of %#x", f.name, b.Index, b.Size)
	case b.Index < 0 || b.Index+registers > barRegisters:
		return fmt.Errorf("pci: %s: there is no BAR %d", f.name, b.Index)
	}
	at := regBAR + 4*b.Index
	for i := at; i < at+4*registers; i++ {
		if f.writable[i] != 0 {
			return fmt.Errorf("pci: %s: BAR %d is taken", f.name, b.Index)
		}
	}
	// Software finds the size by writing ones: the bits below it stay as they are (6.2.5.1).
	le, mask := binary.LittleEndian, ^(b.Size - 1)
	if b.Space == Ports {
		le.PutUint32(f.writable[at:], uint32(mask)&^barKindIO)
		f.space[at] = barIO
	} else {
		le.PutUint64(f.writable[at:], mask&^barKind)
		f.space[at] = barWide
	}
	f.bars = append(f.bars, &bar{BAR: b, function: f})
	return nil
}

// where returns the address in b's registers, and whether the function is to answer there.
func (b *bar) where() (addr uint64, decoded bool) {
	f := b.function
	f.mu.Lock()
	defer f.mu.Unlock()
	command := binary.LittleEndian.Uint16(f.space[regCommand:])
	at := regBAR + 4*b.Index
	if b.Space == Ports {
		return uint64(binary.LittleEndian.Uint32(f.space[at:]) &^ barKindIO), command&commandIO != 0
	}
	return binary.LittleEndian.Uint64(f.space[at:]) &^ barKind, command&commandMemory != 0
}

// place sets the address of b as firmware would.
func (b *bar) place(addr uint64) {
	f := b.function
	f.mu.Lock()
	defer f.mu.Unlock()
	at := regBAR + 4*b.Index
	if b.Space == Ports {
		binary.LittleEndian.PutUint32(f.space[at:], uint32(addr)|barIO)
	} else {
		binary.LittleEndian.PutUint64(f.space[at:], addr|barWide)
	}
}
