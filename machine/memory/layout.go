package memory

import (
	"fmt"
	"os"
)

// maxAddr is one past the highest guest-physical address that any guest can
// have: both x86-64 (Intel SDM volume 3, 4.1.4, MAXPHYADDR) and arm64 (Arm
// ARM, FEAT_LPA) end at 52 bits. Below it, sums of an address and a size never
// wrap, and every address fits the int64 offset of ReadAt and WriteAt.
const maxAddr = 1 << 52

// A Range is a span of guest-physical addresses, [Base, Base+Size).
type Range struct {
	Base uint64
	Size uint64
}

// String returns the range as [first, end), in hexadecimal.
func (r Range) String() string {
	return fmt.Sprintf("[%#x, %#x)", r.Base, r.Base+r.Size)
}

// check reports why r cannot be guest RAM: it is empty, it is not aligned to
// the host's pages (which mmap and KVM_SET_USER_MEMORY_REGION demand), or it
// reaches beyond the physical address space.
func (r Range) check() error {
	page := uint64(os.Getpagesize())
	switch {
	case r.Size == 0:
		return fmt.Errorf("memory: range at %#x is empty", r.Base)
	case r.Base%page != 0 || r.Size%page != 0:
		return fmt.Errorf("memory: range of %#x bytes at %#x is not aligned to pages of %#x bytes", r.Size, r.Base, page)
	case r.Base >= maxAddr || r.Size > maxAddr-r.Base:
		return fmt.Errorf("memory: range of %#x bytes at %#x reaches beyond the 52-bit physical address space", r.Size, r.Base)
	}
	return nil
}

// Layout places size bytes of RAM from guest-physical address 0 upwards and
// leaves out the hole [holeStart, holeEnd), in which the machine keeps its
// memory-mapped devices: what does not fit below the hole continues at
// holeEnd. On a PC the hole ends at 4 GiB, so that a guest of 6 GiB gets one
// range below the hole and one from 4 GiB on.
//
// The three numbers are in bytes and multiples of the host's page size. The
// result has one range, or two in ascending order; New takes it as it is.
func Layout(size, holeStart, holeEnd uint64) ([]Range, error) {
	page := uint64(os.Getpagesize())
	switch {
	case size == 0:
		return nil, fmt.Errorf("memory: a guest needs RAM, got a size of 0")
	case size%page != 0:
		return nil, fmt.Errorf("memory: size %#x is not a multiple of the page size %#x", size, page)
	case holeStart > holeEnd || holeStart%page != 0 || holeEnd%page != 0:
		return nil, fmt.Errorf("memory: the hole [%#x, %#x) is not a range of pages", holeStart, holeEnd)
	}
	var ranges []Range
	low := min(size, holeStart)
	if low > 0 {
		ranges = append(ranges, Range{0, low})
	}
	if high := size - low; high > 0 {
		ranges = append(ranges, Range{holeEnd, high})
	}
	for _, r := range ranges {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	return ranges, nil
}
