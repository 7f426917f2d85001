package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"govmm/machine/memory"
)

func newQueue(ram *memory.Memory) *queue {
	return &queue{ram: ram, size: size, table: table, avail: avail, used: used}
}

// show prints the queue as it lies in the guest's memory.
func show(out io.Writer, ram *memory.Memory) error {
	q := newQueue(ram)
	for i := range uint16(size) {
		d, err := q.descriptor(i)
		if err != nil {
			return err
		}
		if d.Len == 0 {
			continue
		}
		contents, err := ram.ReadSlice(d.Addr, uint64(d.Len))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "descriptor %d: %2d bytes at %#x, flags %d, next %d: %q\n", i, d.Len, d.Addr, d.Flags, d.Next, bytes.TrimRight(contents, "\x00"))
	}
	rings, err := ram.ReadSlice(avail, used-avail+12)
	if err != nil {
		return err
	}
	le, usedRing := binary.LittleEndian, rings[used-avail:]
	if n := le.Uint16(rings[2:]); n > 0 {
		fmt.Fprintf(out, "available: %d chain, from descriptor %d on\n", n, le.Uint16(rings[4:]))
	}
	if n := le.Uint16(usedRing[2:]); n > 0 {
		fmt.Fprintf(out, "used:      %d chain, from descriptor %d on; %d bytes were written\n", n, le.Uint32(usedRing[4:]), le.Uint32(usedRing[8:]))
	}
	fmt.Fprintln(out)
	return nil
}
