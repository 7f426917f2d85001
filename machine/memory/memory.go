// Package memory is the RAM of one guest: which guest-physical addresses have
// RAM behind them, the host memory that backs it, and bounds-checked access to
// it.
//
// # What it gives
//
// [Layout] splits the RAM around the hole below 4 GiB that a PC keeps for
// memory-mapped devices. [New] maps private anonymous host memory for the
// ranges. The mapping is lazy: a page costs host memory from its first touch
// on, so a guest with 1 GiB of RAM costs what it uses, and [Memory.Discard] gives it back. [Memory.Regions] is what
// the machine registers with KVM; everything else (device models, boot loaders,
// snapshots) goes through the checked accessors and never sees a region whole.
//
// # Concurrency
//
// Guest RAM is shared with running vCPUs, which read and write all of it at any
// time and take no lock. So the methods of Memory take none either, and all of
// them except Close may be called from any goroutine. What follows from this is
// the caller's business:
//
//   - The bytes of a slice can change between any two reads. Read a guest's value
//     once into a variable, check the variable, use the variable.
//   - Plain reads and copies are not atomic: a value that the guest is changing may
//     be seen half old and half new, and in any order relative to other bytes.
//     Fields that order others (ring indices, flags) need sync/atomic on an aligned
//     address in the slice.
//   - The race detector does not watch this memory, because it does not come from
//     Go's heap. Two goroutines of the VMM that write the same guest bytes race
//     silently; who owns which bytes is for the device's protocol to say.
//
// A slice stays valid until Close, which unmaps the memory: a later use of a
// slice is a fault that ends the process. The machine calls Close only after
// vCPUs and devices have stopped.
//
// # Hostile inputs
//
// The address and length of an access come from the guest: any 64-bit values
// are fine, and what is not RAM is an error and no crash. Contents are opaque
// here. Ranges given to Layout and New come from the machine's configuration.
//
// # Left out
//
// Dirty tracking and snapshots. Reading and writing have separate methods so that
// writes can be tracked, and backing memory is made in one place.
package memory

import (
	"errors"
	"fmt"
	"slices"
)

// A Region is one contiguous piece of guest RAM.
type Region struct {
	Base uint64 // guest-physical address of Data[0]
	Data []byte // page aligned in host memory; shared with the guest
}

// slice returns the n bytes at guest-physical address addr, and whether they
// lie in r. It compares offsets and remainders, not end addresses, so nothing
// here can wrap.
func (r *Region) slice(addr, n uint64) ([]byte, bool) {
	size := uint64(len(r.Data))
	if addr < r.Base || addr-r.Base > size || n > size-(addr-r.Base) {
		return nil, false
	}
	off := addr - r.Base
	return r.Data[off : off+n : off+n], true
}

// An AccessError says that an access was not to guest RAM.
type AccessError struct {
	Addr uint64 // guest-physical address
	Size uint64 // bytes asked for
}

// Error says which access failed.
func (e *AccessError) Error() string {
	return fmt.Sprintf("memory: no RAM for %d bytes at %#x", e.Size, e.Addr)
}

// Memory is the RAM of one guest. Its methods may be called from any number of
// goroutines at once, Close excepted; see the package documentation for what
// sharing RAM with a running guest means.
type Memory struct {
	// regions is sorted by Base, without overlaps. It changes only in Close.
	regions []Region
	// mappings are what the host mapped for the regions, in the same order.
	mappings [][]byte
}

// New maps RAM for the given ranges, which must be ascending, not overlapping
// and aligned to the host's pages. The memory reads as zeros, and host memory
// is neither allocated nor reserved for a page before something touches it.
// When New fails, nothing stays mapped.
func New(ranges []Range) (*Memory, error) {
	if len(ranges) == 0 {
		return nil, errors.New("memory: no ranges")
	}
	m := &Memory{}
	var end uint64
	for _, r := range ranges {
		err := r.check()
		if err == nil && r.Base < end {
			err = fmt.Errorf("memory: range %v overlaps or precedes another", r)
		}
		var mapping, data []byte
		if err == nil {
			mapping, data, err = mapAnonymous(r.Base, r.Size)
		}
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.mappings = append(m.mappings, mapping)
		m.regions = append(m.regions, Region{r.Base, data})
		end = r.Base + r.Size
	}
	return m, nil
}

// Close unmaps the memory. Nothing may use the memory during or after it: no
// vCPU, and no slice that any method has returned. After Close every access is
// an error, and a second Close does nothing.
func (m *Memory) Close() error {
	var errs []error
	for _, mapping := range m.mappings {
		errs = append(errs, unmap(mapping))
	}
	m.regions, m.mappings = nil, nil
	return errors.Join(errs...)
}

// Regions returns the pieces of the RAM in ascending order, for registration
// with KVM. The slice is the caller's; the bytes are the guest's RAM.
func (m *Memory) Regions() []Region {
	return slices.Clone(m.regions)
}

// Size returns the size of the RAM in bytes, whether resident or not.
func (m *Memory) Size() uint64 {
	var size uint64
	for i := range m.regions {
		size += uint64(len(m.regions[i].Data))
	}
	return size
}
