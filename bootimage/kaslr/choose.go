package kaslr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
)

// ErrNoRoom says that there is no place at which the kernel could lie. Test for it
// with errors.Is.
var ErrNoRoom = errors.New("no room for the kernel")

const (
	minAlign = 2 << 20  // MIN_KERNEL_ALIGN: the kernel maps itself by pages of 2 MiB
	minPhys  = 16 << 20 // below may be what old devices reach, and what loaders use
)

// Range is a range of guest-physical addresses, in bytes.
type Range struct{ Addr, Size uint64 }

// Limits say where a kernel may lie.
type Limits struct {
	// Align is the setup header's kernel_alignment, a power of two. Less than 2 MiB
	// counts as 2 MiB.
	Align uint64

	// PrefAddress is the setup header's pref_address: where the kernel is linked to
	// lie, and the least address that is chosen, unless that is less than 16 MiB.
	PrefAddress uint64

	// Size is how much memory the kernel takes: the setup header's init_size.
	Size uint64

	// Free is the RAM to choose from, ranges in any order that do not overlap. It is
	// the caller's to leave out what the entry's page tables do not map.
	Free []Range

	// Reserved is what to keep clear of in Free, in any order: initrd, boot data.
	Reserved []Range
}

// Choose chooses by chance where a kernel lies, physically and, independently,
// virtually. It takes 16 bytes from rand, which should be crypto/rand's Reader.
//
// phys is the guest-physical address at which the kernel's first byte goes: at
// l.PrefAddress and 16 MiB or above, a multiple of l.Align, with l.Size bytes of free
// RAM from there on. virtDelta is how much higher than linked it is mapped, for Apply:
// a multiple of l.Align with which the kernel still ends within the 1 GiB from
// 0xffffffff80000000 on. Every possible value is equally likely.
//
// The error is ErrNoRoom if there is no possible one, rand's, or one for limits that
// make no sense.
func Choose(rand io.Reader, l Limits) (phys, virtDelta uint64, err error) {
	l.Align = alignment(l.Align)
	if err := l.check(); err != nil {
		return 0, 0, err
	}
	slots, total := l.physSlots()
	if total == 0 {
		return 0, 0, fmt.Errorf("%w: it needs %d bytes of free RAM in one piece at %#x or above", ErrNoRoom, l.Size, max(l.PrefAddress, minPhys))
	}
	virtual := l.virtSlots()
	if virtual == 0 {
		return 0, 0, fmt.Errorf("%w: it needs %d bytes of a kernel's 1 GiB of address space", ErrNoRoom, l.Size)
	}
	var seed [16]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return 0, 0, fmt.Errorf("random numbers for the kernel's address: %w", err)
	}
	phys = slots.at(below(seed[:8], total), l.Align)
	return phys, below(seed[8:], virtual) * l.Align, nil
}

// alignment is what a kernel_alignment amounts to; 0 stays wrong.
func alignment(a uint64) uint64 {
	if a == 0 {
		return 0
	}
	return max(a, minAlign)
}

func (l Limits) check() error {
	if l.Align == 0 || l.Align&(l.Align-1) != 0 {
		return fmt.Errorf("a kernel_alignment of %#x is no power of two", l.Align)
	}
	if l.PrefAddress%l.Align != 0 {
		return fmt.Errorf("a pref_address of %#x is no multiple of the kernel's alignment of %#x", l.PrefAddress, l.Align)
	}
	if l.Size == 0 {
		return errors.New("a kernel that takes no memory (init_size)")
	}
	for _, ranges := range [][]Range{l.Free, l.Reserved} {
		for _, r := range ranges {
			if r.Size > math.MaxUint64-r.Addr {
				return fmt.Errorf("no valid range of memory: address %#x, size %#x", r.Addr, r.Size)
			}
		}
	}
	return nil
}

// virtSlots is how many virtual addresses there are, from the linked one on.
func (l Limits) virtSlots() uint64 {
	if l.PrefAddress > mapSize || l.Size > mapSize-l.PrefAddress {
		return 0
	}
	return (mapSize-l.PrefAddress-l.Size)/l.Align + 1
}

// below turns 8 random bytes into a number below n. The upper half of the product
// is as even as the remainder of a division would be, to 1 in 2^64 / n.
func below(seed []byte, n uint64) uint64 {
	hi, _ := bits.Mul64(binary.LittleEndian.Uint64(seed), n)
	return hi
}

// alignUp returns the lowest multiple of align, a power of two, from v on, and
// whether it fits into 64 bits.
func alignUp(v, align uint64) (uint64, bool) {
	if v > math.MaxUint64-(align-1) {
		return 0, false
	}
	return (v + align - 1) &^ (align - 1), true
}
