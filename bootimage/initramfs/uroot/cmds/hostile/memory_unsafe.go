package main

import (
	"sync/atomic"
	"unsafe"
)

// addressOf is where b is in this process.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// store writes size bytes by one instruction, as devices ask. off is a multiple of size.
func store(b []byte, off, size int, v uint64) {
	p := unsafe.Pointer(&b[off : off+size][0])
	switch size {
	case 1:
		*(*uint8)(p) = uint8(v)
	case 2:
		*(*uint16)(p) = uint16(v)
	case 4:
		atomic.StoreUint32((*uint32)(p), uint32(v))
	case 8:
		*(*uint64)(p) = v
	}
}

// load reads size bytes by one instruction.
func load(b []byte, off, size int) uint64 {
	p := unsafe.Pointer(&b[off : off+size][0])
	switch size {
	case 1:
		return uint64(*(*uint8)(p))
	case 2:
		return uint64(*(*uint16)(p))
	case 4:
		return uint64(atomic.LoadUint32((*uint32)(p)))
	}
	return atomic.LoadUint64((*uint64)(p))
}
