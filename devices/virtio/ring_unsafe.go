package virtio

import (
	"fmt"
	"unsafe"
)

// words returns b as the 32-bit words it consists of. b must start at a
// multiple of 4 in host memory and its length be a multiple of 4.
//
// The rings' fields are 16 bits wide, and sync/atomic has no 16-bit
// operations; so rings are held as words, and a field is loaded with the
// aligned word around it. The order of the two halves is that of
// little-endian hosts, the only ones that govmm builds for.
func words(b []byte) ([]uint32, error) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%4 != 0 || len(b)%4 != 0 {
		return nil, fmt.Errorf("ring of %d bytes at %p in the host's memory is not aligned to 4 bytes", len(b), p)
	}
	return unsafe.Slice((*uint32)(p), len(b)/4), nil
}
