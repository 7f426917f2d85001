package main

import (
	"encoding/binary"

	"govmm/bootimage/kaslr"
)

// Answers to the exercises. Yours may be others.

func countPlacesSolution(ram []kaslr.Range, lowest, size, align uint64) (n uint64) {
	for _, r := range ram {
		first := (max(r.Addr, lowest) + align - 1) &^ (align - 1)
		if end := r.Addr + r.Size; first+size <= end {
			n += (end-size-first)/align + 1
		}
	}
	return n
}

func relocate32Solution(load []byte, places []uint64, linked uint64, delta uint32) bool {
	for _, p := range places {
		// A place below linked wraps around to a great offset.
		if off := p - linked; off >= uint64(len(load)) || uint64(len(load))-off < 4 {
			return false
		}
	}
	for _, p := range places {
		b := load[p-linked:]
		binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)+delta)
	}
	return true
}

func chooseSolution(random func() byte, n int) int {
	for {
		if b := int(random()); b < 256/n*n {
			return b % n
		}
	}
}
