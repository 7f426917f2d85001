package virtiotest

import (
	"encoding/binary"
	"fmt"
)

// Descriptor flags (2.7.5).
const (
	DescNext     = 1
	DescWrite    = 2
	DescIndirect = 4
)

// A Desc is one descriptor as a driver writes it.
type Desc struct {
	Addr  uint64
	Len   uint32
	Flags uint16
	Next  uint16
}

// A Buf is one segment of a chain.
type Buf struct {
	Addr  uint64
	Len   uint32
	Write bool // the device writes it
}

// A Used is one element of the used ring.
type Used struct {
	ID  uint32
	Len uint32
}

// A Ring is the driver's side of a split virtqueue. It is for one goroutine,
// while the device uses the same memory.
//
// Add and AddIndirect, with Publish, follow the rules; SetDesc, SetHead and
// SetAvailIdx need not.
type Ring struct {
	Size              uint16
	Desc, Avail, Used uint64 // addresses; change them before the queue is set up

	mem      *Memory
	eventIdx bool
	free     []uint16            // descriptors
	chains   map[uint16][]uint16 // the descriptors of chains that the device has, by head
	avail    uint16
	kicked   uint16 // avail at the last NeedsKick
	used     uint16
}

// NewRing allocates and clears a ring of size descriptors in mem. eventIdx says that
// VIRTIO_F_EVENT_IDX is negotiated.
func NewRing(mem *Memory, size uint16, eventIdx bool) *Ring {
	n := uint64(size)
	r := &Ring{
		Size:     size,
		Desc:     mem.Alloc(16*n, 16),
		Avail:    mem.Alloc(6+2*n, 2),
		Used:     mem.Alloc(6+8*n, 4),
		mem:      mem,
		eventIdx: eventIdx,
		chains:   make(map[uint16][]uint16),
	}
	clear(mem.Bytes(r.Desc, mem.next-r.Desc))
	for i := range size {
		r.free = append(r.free, size-1-i)
	}
	return r
}

// SetDesc writes descriptor i of the table at addr, which is r.Desc or that
// of an indirect table.
func (r *Ring) SetDesc(addr uint64, i uint16, d Desc) {
	p := r.mem.Bytes(addr+16*uint64(i), 16)
	binary.LittleEndian.PutUint64(p[0:], d.Addr)
	binary.LittleEndian.PutUint32(p[8:], d.Len)
	binary.LittleEndian.PutUint16(p[12:], d.Flags)
	binary.LittleEndian.PutUint16(p[14:], d.Next)
}

// Add writes a chain of bufs and publishes it. It returns the head, and panics
// if there are too few free descriptors.
func (r *Ring) Add(bufs ...Buf) uint16 {
	if len(bufs) > len(r.free) {
		panic(fmt.Sprintf("virtiotest: chain of %d with %d free descriptors", len(bufs), len(r.free)))
	}
	indices := append([]uint16(nil), r.free[len(r.free)-len(bufs):]...)
	r.free = r.free[:len(r.free)-len(bufs)]
	r.write(r.Desc, indices, bufs)
	r.chains[indices[0]] = indices
	r.Publish(indices[0])
	return indices[0]
}

// AddIndirect does what Add does with an indirect table, which it allocates.
func (r *Ring) AddIndirect(bufs ...Buf) uint16 {
	table := r.mem.Alloc(16*uint64(len(bufs)), 16)
	indices := make([]uint16, len(bufs))
	for i := range indices {
		indices[i] = uint16(i)
	}
	r.write(table, indices, bufs)
	head := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	r.SetDesc(r.Desc, head, Desc{Addr: table, Len: 16 * uint32(len(bufs)), Flags: DescIndirect})
	r.chains[head] = []uint16{head}
	r.Publish(head)
	return head
}

func (r *Ring) write(table uint64, indices []uint16, bufs []Buf) {
	for i, b := range bufs {
		d := Desc{Addr: b.Addr, Len: b.Len}
		if b.Write {
			d.Flags |= DescWrite
		}
		if i+1 < len(bufs) {
			d.Flags |= DescNext
			d.Next = indices[i+1]
		}
		r.SetDesc(table, indices[i], d)
	}
}

// Publish makes the chain at head available.
func (r *Ring) Publish(head uint16) {
	r.SetHead(r.avail, head)
	r.SetAvailIdx(r.avail + 1)
}

// SetHead writes the available ring's entry for the free-running index i.
func (r *Ring) SetHead(i, head uint16) {
	r.mem.store16(r.Avail+4+2*uint64(i%r.Size), head)
}

// SetAvailIdx writes the available index.
func (r *Ring) SetAvailIdx(idx uint16) {
	r.avail = idx
	r.mem.store16(r.Avail+2, idx)
}

// AvailIdx returns the available index.
func (r *Ring) AvailIdx() uint16 { return r.avail }

// Reap returns the next used element, if there is one, and frees its
// descriptors.
func (r *Ring) Reap() (Used, bool) {
	if r.mem.load16(r.Used+2) == r.used {
		return Used{}, false
	}
	p := r.mem.Bytes(r.Used+4+8*uint64(r.used%r.Size), 8)
	u := Used{ID: binary.LittleEndian.Uint32(p), Len: binary.LittleEndian.Uint32(p[4:])}
	r.used++
	head := uint16(u.ID)
	r.free = append(r.free, r.chains[head]...)
	delete(r.chains, head)
	if r.eventIdx {
		r.SetUsedEvent(r.used)
	}
	return u, true
}

// UsedIdx returns the device's used index.
func (r *Ring) UsedIdx() uint16 { return r.mem.load16(r.Used + 2) }

// SetNoInterrupt writes the available ring's flags.
func (r *Ring) SetNoInterrupt(off bool) {
	var flags uint16
	if off {
		flags = 1
	}
	r.mem.store16(r.Avail, flags)
}

// SetUsedEvent asks for an interrupt when the element at index i is used.
func (r *Ring) SetUsedEvent(i uint16) { r.mem.store16(r.Avail+4+2*uint64(r.Size), i) }

// AvailEvent returns the index that the device wants to be notified of.
func (r *Ring) AvailEvent() uint16 { return r.mem.load16(r.Used + 4 + 8*uint64(r.Size)) }

// NoNotify reports whether the device asked for no notifications by flag.
func (r *Ring) NoNotify() bool { return r.mem.load16(r.Used)&1 != 0 }

// NeedsKick reports whether the device wants to hear of the chains published
// since the last call (2.7.10).
func (r *Ring) NeedsKick() bool {
	before := r.kicked
	r.kicked = r.avail
	if !r.eventIdx {
		return !r.NoNotify()
	}
	return r.avail-r.AvailEvent()-1 < r.avail-before
}
