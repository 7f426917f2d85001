package virtiotest

import (
	"sync/atomic"
	"unsafe"
)

// word returns the aligned word of guest memory around addr, and the position
// of the 16-bit field at addr in it.
func (m *Memory) word(addr uint64) (*uint32, uint) {
	p := m.Bytes(addr&^3, 4)
	return (*uint32)(unsafe.Pointer(&p[0])), uint(addr & 2 * 8)
}

// load16 loads a 16-bit field of a ring.
func (m *Memory) load16(addr uint64) uint16 {
	w, shift := m.word(addr)
	return uint16(atomic.LoadUint32(w) >> shift)
}

// store16 stores a 16-bit field of a ring and leaves its neighbour alone.
func (m *Memory) store16(addr uint64, v uint16) {
	w, shift := m.word(addr)
	for {
		old := atomic.LoadUint32(w)
		if atomic.CompareAndSwapUint32(w, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}
