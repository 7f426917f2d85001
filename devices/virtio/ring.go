package virtio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
)

// Descriptor flags (2.7.5).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4

	descSize = 16
)

// Ring flags and field positions.
const (
	availNoInterrupt = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT (2.7.6)
	usedNoNotify     = 1 // VIRTQ_USED_F_NO_NOTIFY (2.7.8)

	// Positions in the available ring, in 16-bit fields (2.7.6). used_event
	// follows the ring.
	availFlags = 0
	availIdx   = 1
	availRing  = 2

	// Position of the elements in the used ring, in 32-bit words (2.7.8).
	// Word 0 is flags and idx. avail_event follows the elements.
	usedRing = 1
)

// A descriptor is one entry of a descriptor table, copied out of guest memory.
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// readDescriptor copies entry i of table. It makes two loads, each once: the
// Go memory model forbids that a load is repeated, so what is checked later is
// what is used.
func readDescriptor(table []byte, i uint32) descriptor {
	e := table[i*descSize:][:descSize]
	addr, rest := binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:])
	return descriptor{addr: addr, len: uint32(rest), flags: uint16(rest >> 32), next: uint16(rest >> 48)}
}

// A ring is the memory of one split virtqueue (2.7), checked once and held as
// slices for as long as the driver has the queue enabled. size never changes.
type ring struct {
	size  uint32
	desc  []byte
	avail []uint32
	used  []uint32 // written by the device only, except for the upper half of the last word

	// availShift is 1 if the available ring, which is aligned to 2 bytes,
	// starts in the upper half of avail's first word.
	availShift uint32
}

// newRing checks size and the three addresses against 2.7 and takes the
// windows. The ends of the rings are rounded up to whole words; RAM consists
// of pages, so that never reaches beyond it.
func newRing(mem Memory, size, maxSize uint32, desc, avail, used uint64) (ring, error) {
	switch {
	case size == 0 || size&(size-1) != 0:
		return ring{}, fmt.Errorf("size %d is not a power of two", size)
	case size > maxSize:
		return ring{}, fmt.Errorf("size %d exceeds the maximum of %d", size, maxSize)
	case desc%16 != 0:
		return ring{}, fmt.Errorf("descriptor table at %#x is not aligned to 16 bytes", desc)
	case avail%2 != 0:
		return ring{}, fmt.Errorf("available ring at %#x is not aligned to 2 bytes", avail)
	case used%4 != 0:
		return ring{}, fmt.Errorf("used ring at %#x is not aligned to 4 bytes", used)
	}
	r := ring{size: size, availShift: uint32(avail & 2 >> 1)}
	var err error
	if r.desc, err = mem.ReadSlice(desc, descSize*uint64(size)); err != nil {
		return ring{}, fmt.Errorf("descriptor table: %w", err)
	}
	start, n := avail&^3, 6+2*uint64(size)+avail&2
	if r.avail, err = window(mem.ReadSlice, start, n); err != nil {
		return ring{}, fmt.Errorf("available ring: %w", err)
	}
	if r.used, err = window(mem.WriteSlice, used, 6+8*uint64(size)); err != nil {
		return ring{}, fmt.Errorf("used ring: %w", err)
	}
	return r, nil
}

// window takes n bytes, rounded up to words, from addr on.
func window(slice func(addr, n uint64) ([]byte, error), addr, n uint64) ([]uint32, error) {
	n = (n + 3) &^ 3
	if addr > math.MaxUint64-n {
		return nil, errors.New("address wraps around")
	}
	b, err := slice(addr, n)
	if err != nil {
		return nil, err
	}
	return words(b)
}

// field loads 16-bit field i of the available ring.
func (r *ring) field(i uint32) uint16 {
	i += r.availShift
	return uint16(atomic.LoadUint32(&r.avail[i/2]) >> (i % 2 * 16))
}

func (r *ring) availIdx() uint16   { return r.field(availIdx) }
func (r *ring) availFlags() uint16 { return r.field(availFlags) }
func (r *ring) usedEvent() uint16  { return r.field(availRing + r.size) }

// head returns the entry of the available ring for the free-running index i.
func (r *ring) head(i uint16) uint16 { return r.field(availRing + uint32(i)&(r.size-1)) }

// putUsed writes the used element for the free-running index i. The driver
// looks at it only after setUsed.
func (r *ring) putUsed(i uint16, head uint16, n uint32) {
	e := r.used[usedRing+2*(uint32(i)&(r.size-1)):][:2]
	e[0], e[1] = uint32(head), n
}

// setUsed stores flags and idx of the used ring, which are one word. It is a
// full barrier: the elements are visible before idx, and the driver's event
// fields are read after it.
func (r *ring) setUsed(flags, idx uint16) {
	atomic.StoreUint32(&r.used[0], uint32(flags)|uint32(idx)<<16)
}

// setAvailEvent stores avail_event. The other half of its word lies behind the
// ring and is the driver's, so the word must not be stored as a whole, and a
// compare-and-swap loop could be kept busy from there. Hence two operations
// that cannot fail: the driver may see a wrong value between them, but then it
// published before the second, and the caller, who looks at the available
// index after that, finds what was published.
func (r *ring) setAvailEvent(idx uint16) {
	w := &r.used[usedRing+2*r.size]
	atomic.AndUint32(w, uint32(idx)|0xffff0000)
	atomic.OrUint32(w, uint32(idx))
}
