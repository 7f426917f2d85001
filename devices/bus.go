package devices

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// A Bus is an address space with regions in it, each answered by a Handler.
//
// All methods may be called from any number of goroutines at once. Read and
// Write take no lock and do not allocate. A region that is added while vCPUs
// run is seen by every access that starts after Add returned.
type Bus struct {
	name string
	last uint64 // the highest address

	mu sync.Mutex // serializes Add and Remove
	// regions is sorted by base. The slice is never changed in place, so that
	// a lookup needs no more than the pointer.
	regions atomic.Pointer[[]region]
}

// A region holds the addresses base to last, inclusive, so that one may end
// at the top of the 64-bit space.
type region struct {
	base, last uint64
	name       string
	handler    Handler
}

func (r *region) String() string {
	return fmt.Sprintf("%s [%#x-%#x]", r.name, r.base, r.last)
}

// NewBus returns an empty bus with the addresses 0 to size-1; a size of 0
// means all 2^64 of them. The name stands in errors: "PIO", "MMIO".
func NewBus(name string, size uint64) *Bus {
	b := &Bus{name: name, last: size - 1} // 0-1 wraps to the highest address
	b.regions.Store(new([]region))
	return b
}

// Add makes h answer the size addresses from base on. The name stands in
// errors. Add fails, and changes nothing, when the region is empty, does not
// fit the bus, or overlaps a region that is there already.
func (b *Bus) Add(base, size uint64, name string, h Handler) error {
	if h == nil {
		return fmt.Errorf("%s bus: region %s has no handler", b.name, name)
	}
	if size == 0 {
		return fmt.Errorf("%s bus: region %s at %#x is empty", b.name, name, base)
	}
	if size-1 > math.MaxUint64-base {
		return fmt.Errorf("%s bus: region %s at %#x of size %#x wraps around", b.name, name, base, size)
	}
	r := region{base: base, last: base + (size - 1), name: name, handler: h}
	if r.last > b.last {
		return fmt.Errorf("%s bus: region %v lies beyond the highest address %#x", b.name, &r, b.last)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.regions.Load()
	// Regions do not overlap, so they are sorted by last as well, and only
	// the first that ends at or after base can be in the way.
	i := search(old, base)
	if i < len(old) && old[i].base <= r.last {
		return fmt.Errorf("%s bus: region %v overlaps region %v", b.name, &r, &old[i])
	}
	grown := slices.Insert(slices.Clone(old), i, r)
	b.regions.Store(&grown)
	return nil
}

// Remove takes away the region that begins at base, and reports whether there is one. An access on
// another thread may still be with its Handler when Remove returns.
func (b *Bus) Remove(base uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.regions.Load()
	i := search(old, base)
	if i == len(old) || old[i].base != base {
		return false
	}
	shrunk := slices.Delete(slices.Clone(old), i, i+1)
	b.regions.Store(&shrunk)
	return true
}

// Read fills p with what the guest reads at addr and reports whether a
// Handler answered. An access that no region answers reads all ones, as a bus
// that nobody drives does: one to an unmapped address, one that crosses its
// region's end, and one whose width is not 1, 2, 4 or 8.
func (b *Bus) Read(addr uint64, p []byte) (found bool) {
	r := b.find(addr, len(p))
	if r == nil {
		for i := range p {
			p[i] = 0xff
		}
		return false
	}
	r.handler.Read(addr-r.base, p)
	return true
}

// Write hands p to the Handler at addr and reports whether there is one. An
// access that no region answers, as in Read, has no effect.
func (b *Bus) Write(addr uint64, p []byte) (found bool) {
	r := b.find(addr, len(p))
	if r == nil {
		return false
	}
	r.handler.Write(addr-r.base, p)
	return true
}

// Name returns the name of the region that an access of n bytes at addr reaches, and nothing if no region answers it. It
// allocates no more than Read.
func (b *Bus) Name(addr uint64, n int) string {
	if r := b.find(addr, n); r != nil {
		return r.name
	}
	return ""
}

// Names returns the names of all regions that there are, in the order of their addresses.
func (b *Bus) Names() []string {
	var names []string
	for _, r := range *b.regions.Load() {
		names = append(names, r.name)
	}
	return names
}

// find returns the region that answers an access of n bytes at addr, or nil.
func (b *Bus) find(addr uint64, n int) *region {
	switch n {
	case 1, 2, 4, 8:
	default:
		// KVM splits an access at a page boundary, so that odd widths do
		// occur. No register is split so.
		return nil
	}
	regions := *b.regions.Load()
	i := search(regions, addr)
	if i == len(regions) {
		return nil
	}
	r := &regions[i]
	if addr < r.base || uint64(n-1) > r.last-addr {
		return nil
	}
	return r
}

// search returns the index of the first region that ends at or after addr,
// or len(regions). It is sort.Search without the call per step.
func search(regions []region, addr uint64) int {
	lo, hi := 0, len(regions)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if regions[mid].last < addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
