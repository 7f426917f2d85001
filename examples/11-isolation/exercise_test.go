package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"govmm/examples/internal/exercise"
)

func TestInRAM(t *testing.T) {
	exercise.Check(t, func(inRAM func(addr, size, ramSize uint64) bool) error {
		for _, tt := range []struct {
			addr, size uint64
			want       bool
		}{
			{0, 0x10000, true},
			{0xfff0, 0x10, true},
			{0xfff0, 0x11, false},
			{0x10000, 1, false},
			{0x10000, 0, true}, // empty, and at the end
			{0x10001, 0, false},
			{math.MaxUint64 - 0xfff, 0x2000, false},
			{0x1000, math.MaxUint64 - 0x7ff, false},
			{math.MaxUint64, math.MaxUint64, false},
		} {
			got, err := exercise.Call(func() bool { return inRAM(tt.addr, tt.size, 0x10000) })
			if err != nil {
				return err
			}
			if got != tt.want {
				return fmt.Errorf("%#x bytes at %#x are in a memory of 64 KiB: %v", tt.size, tt.addr, got)
			}
		}
		return nil
	}, inRAM, inRAMSolution)
}

func TestChain(t *testing.T) {
	last := descriptor{Addr: 1}
	to := func(next uint16) descriptor { return descriptor{Addr: 2, More: true, Next: next} }
	long := make([]descriptor, 1<<15) // as long as a virtqueue may be
	for i := range len(long) - 1 {
		long[i] = to(uint16(i + 1))
	}
	exercise.Check(t, func(chain func(table, uint16) ([]descriptor, bool)) error {
		for _, tt := range []struct {
			what  string
			table []descriptor
			head  uint16
			want  []descriptor // nil if the chain is none
		}{
			{"one descriptor", []descriptor{last, last}, 1, []descriptor{last}},
			{"all of the table, backwards", []descriptor{last, to(0), to(1)}, 2, []descriptor{to(1), to(0), last}},
			{"all of a table of 32768", long, 0, long},
			{"a head that is not in the table", []descriptor{last, last}, 2, nil},
			{"a next that is not in the table", []descriptor{to(7), last}, 0, nil},
			{"a last one that names a next, and has no more", []descriptor{{Addr: 1, Next: 7}}, 0, []descriptor{{Addr: 1, Next: 7}}},
			{"a descriptor that leads to itself", []descriptor{to(0), last}, 0, nil},
			{"a circle of two", []descriptor{to(1), to(0)}, 0, nil},
		} {
			type result struct {
				chain []descriptor
				ok    bool
			}
			got, err := exercise.Call(func() (r result) { r.chain, r.ok = chain(&countingTable{descriptors: tt.table}, tt.head); return r })
			if err != nil {
				return fmt.Errorf("%s: %v", tt.what, err)
			}
			if got.ok != (tt.want != nil) || got.ok && !slices.Equal(got.chain, tt.want) {
				return fmt.Errorf("%s: %v, %v", tt.what, got.chain[:min(len(got.chain), 10)], got.ok)
			}
		}
		return nil
	}, chain, chainSolution)
}

// countingTable ends an answer that reads for ever, before that has taken all memory.
type countingTable struct {
	descriptors []descriptor
	reads       int
}

func (t *countingTable) Len() int { return len(t.descriptors) }

func (t *countingTable) At(i uint16) descriptor {
	if t.reads++; t.reads > 1000+2*t.Len() {
		panic(fmt.Sprintf("%d reads of a table with %d descriptors, and no end", t.reads, t.Len()))
	}
	return t.descriptors[i]
}

// changing is a message whose length another processor changes after it was read once.
type changing struct {
	first, then uint32
	text        string
	looked      int
}

func (c *changing) Length() uint32 {
	if c.looked++; c.looked == 1 {
		return c.first
	}
	return c.then
}

func (c *changing) Read(p []byte) { copy(p, c.text) }

func TestReceive(t *testing.T) {
	exercise.Check(t, func(receive func(message, []byte) (int, bool)) error {
		for _, tt := range []struct {
			what        string
			first, then uint32
			want        int // -1 if it does not fit
		}{
			{"a message that fits", 5, 5, 5},
			{"an empty one", 0, 0, 0},
			{"one that is as long as the buffer", 16, 16, 16},
			{"one that is longer", 17, 17, -1},
			{"one of 4 GiB", math.MaxUint32, math.MaxUint32, -1},
			{"one whose length grows when it was read", 5, 1 << 30, 5},
			{"one whose length shrinks when it was read", 17, 1, -1},
		} {
			type result struct {
				n  int
				ok bool
			}
			buffer := make([]byte, 16)
			m := &changing{first: tt.first, then: tt.then, text: "0123456789abcdef"}
			got, err := exercise.Call(func() (r result) { r.n, r.ok = receive(m, buffer); return r })
			switch {
			case err != nil:
				return fmt.Errorf("%s: %v", tt.what, err)
			case got.ok != (tt.want >= 0) || got.ok && got.n != tt.want:
				return fmt.Errorf("%s: %d, %v", tt.what, got.n, got.ok)
			case got.ok && string(buffer[:got.n]) != m.text[:got.n]:
				return errors.New(tt.what + ": the buffer has something else")
			}
		}
		return nil
	}, receive, receiveSolution)
}
