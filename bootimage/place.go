package bootimage

import (
	"errors"
	"fmt"
	"math"
)

// Guest-physical addresses of what the loader leaves in low memory; the package
// comment has the whole picture.
const (
	startInfoAddr  = 0x6000
	bootParamsAddr = 0x7000
	setupDataAddr  = 0x8000
	cmdlineAddr    = 0x20000

	cmdlineRoom = 0x10000   // with the terminating NUL
	highMemory  = 0x10_0000 // kernel and initrd go here and above
	limit4G     = 1 << 32

	pageSize = 4096
	mib      = 1 << 20

	// maxMemoryRanges is what fits into boot_params (E820_MAX_ENTRIES_ZEROPAGE).
	// A PVH kernel copies its memory map there too.
	maxMemoryRanges = 128
)

// span is the half-open range of addresses [start, end).
type span struct{ start, end uint64 }

func (s span) overlaps(t span) bool { return s.start < t.end && t.start < s.end }

func (s span) String() string { return fmt.Sprintf("%#x..%#x", s.start, s.end) }

// memoryMap is the guest's checked memory map.
type memoryMap struct {
	ranges []MemoryRange
	ram    []span // ascending, neighbours joined
}

// newMemoryMap checks that ranges are what Params.Memory asks for.
func newMemoryMap(ranges []MemoryRange) (*memoryMap, error) {
	if len(ranges) > maxMemoryRanges {
		return nil, fmt.Errorf("the memory map has %d entries, the boot protocol takes at most %d", len(ranges), maxMemoryRanges)
	}
	m := &memoryMap{ranges: ranges}
	var end uint64
	for i, r := range ranges {
		if r.Size == 0 || r.Size > math.MaxUint64-r.Addr {
			return nil, fmt.Errorf("the memory map's entry %d is no valid range: address %#x, size %#x", i, r.Addr, r.Size)
		}
		if r.Addr < end {
			return nil, fmt.Errorf("the memory map's entry %d at %#x is not above the one before it", i, r.Addr)
		}
		end = r.Addr + r.Size
		if r.Type == RAM {
			m.addRAM(span{r.Addr, end})
		}
	}
	if len(m.ram) == 0 {
		return nil, errors.New("the memory map has no RAM")
	}
	return m, nil
}

func (m *memoryMap) addRAM(s span) {
	if n := len(m.ram); n > 0 && m.ram[n-1].end == s.start {
		m.ram[n-1].end = s.end
		return
	}
	m.ram = append(m.ram, s)
}

// holds reports whether all of s is RAM.
func (m *memoryMap) holds(s span) bool {
	for _, r := range m.ram {
		if r.start <= s.start && s.end <= r.end {
			return s.start <= s.end
		}
	}
	return false
}

// lowEnd is the end of RAM below 4 GiB: what a guest without RAM above that has,
// and all that a kernel may be put into.
func (m *memoryMap) lowEnd() uint64 {
	var end uint64
	for _, r := range m.ram {
		if r.start < limit4G {
			end = min(r.end, limit4G)
		}
	}
	return end
}

// lowest returns the lowest multiple of align from start on at which size bytes of
// RAM end at limit or below. align is a power of two.
func (m *memoryMap) lowest(start, size, align, limit uint64) (uint64, bool) {
	for _, r := range m.ram {
		addr, ok := alignUp(max(start, r.start), align)
		end := min(r.end, limit)
		if ok && addr <= end && size <= end-addr {
			return addr, true
		}
	}
	return 0, false
}

// highest returns the highest page at highMemory or above from which size bytes of
// RAM end at limit or below and are clear of taken.
func (m *memoryMap) highest(size, limit uint64, taken span) (uint64, bool) {
	for i := len(m.ram) - 1; i >= 0; i-- {
		low, end := max(m.ram[i].start, highMemory), min(m.ram[i].end, limit)
		for low <= end && size <= end-low {
			at := span{start: (end - size) &^ (pageSize - 1)}
			at.end = at.start + size
			if at.start < low {
				break
			}
			if !at.overlaps(taken) {
				return at.start, true
			}
			end = taken.start // below the old end, so this happens once
		}
	}
	return 0, false
}

// tooSmall is the error for a kernel that needs RAM up to end, in a guest that
// has less.
func (m *memoryMap) tooSmall(end uint64) error {
	where := ""
	if m.ram[len(m.ram)-1].end > limit4G {
		where = " below 4 GiB"
	}
	return fmt.Errorf("the kernel needs %d MiB of RAM%s, the guest has %d MiB", ceilMiB(end), where, m.lowEnd()/mib)
}

// placeInitrd finds room for an initrd of size bytes that ends at limit or below,
// or, where anywhere is set and there is none, at any address.
func (m *memoryMap) placeInitrd(size, limit uint64, anywhere bool, taken span) (uint64, error) {
	addr, ok := m.highest(size, limit, taken)
	if !ok && anywhere {
		addr, ok = m.highest(size, math.MaxUint64, taken)
	}
	if ok {
		return addr, nil
	}
	var total uint64
	for _, r := range m.ram {
		total += r.end - r.start
	}
	if size > total {
		return 0, fmt.Errorf("the initrd of %d MiB is larger than the guest's RAM of %d MiB", ceilMiB(size), ceilMiB(total))
	}
	end := min(limit, m.ram[len(m.ram)-1].end)
	if anywhere {
		end = m.ram[len(m.ram)-1].end
	}
	return 0, fmt.Errorf("the initrd of %d MiB does not fit beside the kernel into RAM below %#x", ceilMiB(size), end)
}

// checkLow reports an error unless what the loader puts below 1 MiB lies in RAM.
func (m *memoryMap) checkLow(what string, addr, size uint64) error {
	if !m.holds(span{addr, addr + size}) {
		return fmt.Errorf("the memory map has no RAM at %#x for the %s", addr, what)
	}
	return nil
}

// alignUp returns the lowest multiple of align, a power of two, from v on, and
// whether it fits into 64 bits.
func alignUp(v, align uint64) (uint64, bool) {
	if v > math.MaxUint64-(align-1) {
		return 0, false
	}
	return (v + align - 1) &^ (align - 1), true
}

func ceilMiB(n uint64) uint64 {
	v := n / mib
	if n%mib != 0 {
		v++
	}
	return v
}
