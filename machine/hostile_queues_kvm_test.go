//go:build kvmtest

package machine

import "encoding/binary"

// Descriptor flags (virtio 1.2, 2.7.5).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// A hostileQueue is a split virtqueue as the guest set it up.
type hostileQueue struct {
	size              uint32
	desc, avail, used uint64
	next              uint16 // available index
	head              uint16
	sane              bool // the rings are in RAM, and no others'
}

// init chooses size and places, mostly good ones.
func (q *hostileQueue) init(h *hostile, i int) {
	most := uint32(h.device.QueueSizes()[i])
	base := hostileRings + uint64(i)*0x1_0000
	*q = hostileQueue{size: most >> h.IntN(3), desc: base, avail: base + 0x8000, used: base + 0xa000, sane: true}
	if q.size == 0 {
		q.size = most
	}
	size := uint64(q.size)
	switch h.IntN(30) {
	case 0: // the used ring ends with RAM
		q.used = (hostileMemory - 6 - 8*size) &^ 3
	case 1: // the available ring does
		q.avail = (hostileMemory - 6 - 2*size) &^ 1
	case 2: // the table does
		q.desc = hostileMemory - 16*size
	case 3: // one of them does not fit by a little
		q.used, q.sane = (hostileMemory-6-8*size)&^3+4, false
	case 4: // all at one place
		q.avail, q.used, q.sane = q.desc, q.desc, false
	case 5:
		q.size, q.sane = uint32(h.anyValue()), false
	case 6:
		q.desc, q.sane = h.anyAddress(), false
	case 7:
		q.avail, q.sane = h.anyAddress(), false
	case 8:
		q.used, q.sane = h.anyAddress(), false
	case 9: // the rings of another queue
		other := hostileRings + h.Uint64N(uint64(len(h.queues)))*0x1_0000
		q.desc, q.used = other, other+0xa000
	}
	if q.sane {
		h.add(opStore32, q.avail, 0)
		h.add(opStore32, q.used, 0)
	}
}

// queueAddress is a place in a ring.
func (h *hostile) queueAddress() uint64 {
	if len(h.queues) == 0 {
		return hostileRings
	}
	q := h.queues[h.IntN(len(h.queues))]
	return pick(h, q.desc, q.avail, q.used) + h.Uint64N(64)
}

// A buffer is one descriptor of a request.
type buffer struct {
	addr  uint64
	len   uint32
	write bool
}

// out is a buffer with content for the device.
func (h *hostile) out(p []byte) buffer { return buffer{h.content(p), uint32(len(p)), false} }

// in is a buffer of n bytes for the device to fill.
func (h *hostile) in(n uint32) buffer {
	const room = hostileMemory - hostileBuffer
	return buffer{hostileBuffer + h.Uint64N(room-uint64(min(n, room-1))), n, true}
}

// put writes a descriptor.
func (h *hostile) put(at uint64, b buffer, flags, next uint16) {
	if b.write {
		flags |= descWrite
	}
	h.add(opStore64, at, b.addr)
	h.add(opStore64, at+8, uint64(b.len)|uint64(flags)<<32|uint64(next)<<48)
}

// submit makes a request available, perhaps after having spoilt it.
func (h *hostile) submit(i int, buffers []buffer) {
	q := &h.queues[i]
	if !q.sane || len(buffers) == 0 {
		return
	}
	spoilt := h.chance(6)
	if spoilt {
		h.spoil(buffers)
		h.live = h.chance(2) // many of these break the queue, and then nothing happens before a reset
	}
	head := q.head
	if len(buffers) > int(q.size) || h.chance(5) {
		h.put(q.desc+16*uint64(head), buffer{addr: h.indirect(buffers, spoilt), len: h.tableLength(len(buffers), spoilt)}, descIndirect, 0)
		q.head = (head + 1) & uint16(q.size-1)
	} else {
		q.head = h.chain(q, head, buffers, spoilt)
	}
	if spoilt && h.chance(4) {
		head = uint16(h.Uint32())
	}
	h.add(opStore16, q.avail+4+2*uint64(q.next&uint16(q.size-1)), uint64(head))
	q.next++
	h.add(opStore16, q.avail+2, uint64(q.next))
	if h.chance(3) { // used_event, or the interrupt flag
		h.add(opStore16, q.avail+pick(h, 0, 4+2*uint64(q.size)), h.anyValue())
	}
	if !h.chance(5) {
		h.notify(i)
	}
}

// chain writes a chain into the table, and returns the descriptor behind it.
func (h *hostile) chain(q *hostileQueue, head uint16, buffers []buffer, spoilt bool) uint16 {
	at := head
	for i, b := range buffers {
		next := (at + 1) & uint16(q.size-1)
		flags, to := uint16(descNext), next
		if i == len(buffers)-1 {
			flags, to = 0, 0
		}
		if spoilt && h.chance(4) {
			// A loop, a jump, or flags that mean something else.
			flags = pick(h, descNext, descNext|descIndirect, descIndirect, uint16(h.Uint32()))
			to = pick(h, head, at, uint16(q.size), uint16(h.Uint32()), uint16(h.Uint32N(q.size)))
		}
		h.put(q.desc+16*uint64(at), b, flags, to)
		at = next
	}
	return at
}

// indirect puts a table of indirect descriptors (2.7.5.3) somewhere, and returns its address.
func (h *hostile) indirect(buffers []buffer, spoilt bool) uint64 {
	var table []byte
	for i, b := range buffers {
		flags, next := uint16(descNext), uint16(i+1)
		if i == len(buffers)-1 {
			flags, next = 0, 0
		}
		if b.write {
			flags |= descWrite
		}
		if spoilt && h.chance(4) {
			flags, next = uint16(h.Uint32N(16)), uint16(h.Uint32N(uint32(len(buffers))+2))
		}
		table = binary.LittleEndian.AppendUint64(table, b.addr)
		table = binary.LittleEndian.AppendUint64(table, uint64(b.len)|uint64(flags)<<32|uint64(next)<<48)
	}
	if spoilt && h.chance(6) {
		return h.anyAddress()
	}
	return h.content(table)
}

func (h *hostile) tableLength(n int, spoilt bool) uint32 {
	if spoilt && h.chance(3) {
		return h.anyLength()
	}
	return 16 * uint32(n)
}

// spoil changes some of the buffers to what no driver would give.
func (h *hostile) spoil(buffers []buffer) {
	for range 1 + h.IntN(2) {
		b := &buffers[h.IntN(len(buffers))]
		switch h.IntN(5) {
		case 0:
			b.addr = h.anyAddress()
		case 1:
			b.len = h.anyLength()
		case 2:
			b.write = !b.write
		case 3:
			b.addr, b.len = h.anyAddress(), h.anyLength()
		case 4: // up to the last byte of RAM, or one more
			b.addr = hostileMemory - uint64(b.len) + h.Uint64N(2)
		}
	}
}

// jump moves an index of a ring to and fro, or by far.
func (h *hostile) jump(i int) {
	q := &h.queues[i]
	if !q.sane {
		return
	}
	switch h.IntN(4) {
	case 0:
		h.add(opStore16, q.avail+2, uint64(q.next-1))
		h.notify(i)
		h.add(opStore16, q.avail+2, uint64(q.next))
	case 1: // all that the ring has, for the second time
		q.next += uint16(q.size)
		h.add(opStore16, q.avail+2, uint64(q.next))
	case 2:
		q.next += uint16(h.Uint32())
		h.add(opStore16, q.avail+2, uint64(q.next))
	case 3: // the device's own ring
		h.add(opStore32, q.used, h.Uint64())
		h.repeat(opFill, q.size*8, q.used, h.Uint64())
	}
	h.notify(i)
	h.live = h.chance(2)
}
