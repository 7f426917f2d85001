package main

import (
	"encoding/binary"
	"fmt"

	"govmm/machine/memory"
)

// Flags of a descriptor.
const (
	next  = 1 // the chain continues in descriptor number next
	write = 2 // the device writes there; otherwise it reads
)

// A descriptor is 16 bytes of the guest's memory: a piece of a buffer.
type descriptor struct {
	Addr        uint64
	Len         uint32
	Flags, Next uint16
}

// A queue is a virtqueue as the device sees it. The driver chose the size, a power of two, and where its three parts lie.
type queue struct {
	ram                *memory.Memory
	size               uint16
	table, avail, used uint64
	taken, given       uint16 // how many chains have been taken and given back, modulo 65536
}

// pop gives the first descriptor of the next chain that the driver has made available, if there is one.
func (q *queue) pop() (head uint16, ok bool, err error) {
	available, err := q.field(q.avail + 2)
	if err != nil || available == q.taken {
		return 0, false, err
	}
	head, err = q.field(q.avail + 4 + 2*uint64(q.taken%q.size))
	q.taken++
	return head, err == nil, err
}

// chain gives the pieces of a chain, as windows onto the guest's memory: first those to read, then those to write.
func (q *queue) chain(head uint16) (readable, writable [][]byte, err error) {
	for range q.size { // no chain is longer, and one that is a ring would never end
		d, err := q.descriptor(head)
		if err != nil {
			return nil, nil, err
		}
		window, err := q.ram.WriteSlice(d.Addr, uint64(d.Len))
		if err != nil {
			return nil, nil, err
		}
		if d.Flags&write != 0 {
			writable = append(writable, window)
		} else {
			readable = append(readable, window)
		}
		if d.Flags&next == 0 {
			return readable, writable, nil
		}
		head = d.Next
	}
	return nil, nil, fmt.Errorf("a chain of more than %d descriptors", q.size)
}

func (q *queue) descriptor(i uint16) (d descriptor, err error) {
	if i >= q.size {
		return d, fmt.Errorf("descriptor %d in a table of %d", i, q.size)
	}
	bytes, err := q.ram.ReadSlice(q.table+16*uint64(i), 16)
	if err == nil {
		_, err = binary.Decode(bytes, binary.LittleEndian, &d)
	}
	return d, err
}

// push gives a chain back to the driver, with n bytes written to it. The count comes last: what it counts must be there.
func (q *queue) push(head uint16, n uint32) error {
	element := binary.LittleEndian.AppendUint32(nil, uint32(head))
	element = binary.LittleEndian.AppendUint32(element, n)
	if _, err := q.ram.WriteAt(element, int64(q.used+4+8*uint64(q.given%q.size))); err != nil {
		return err
	}
	q.given++
	_, err := q.ram.WriteAt(binary.LittleEndian.AppendUint16(nil, q.given), int64(q.used+2))
	return err
}

// field reads 16 bits of the guest's memory.
func (q *queue) field(addr uint64) (uint16, error) {
	bytes, err := q.ram.ReadSlice(addr, 2)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(bytes), nil
}
