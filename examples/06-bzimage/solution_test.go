package main

import (
	"bytes"
	"encoding/binary"
)

// Answers to the exercises. Yours may be others.

func versionSolution(image []byte) string {
	if len(image) < 0x210 {
		return ""
	}
	start := int(binary.LittleEndian.Uint16(image[0x20e:])) + 0x200
	if start > len(image) {
		return ""
	}
	text, _, ended := bytes.Cut(image[start:], []byte{0})
	if !ended {
		return ""
	}
	return string(text)
}

func ramPiecesSolution(size uint64) []piece {
	low := min(size, 3<<30)
	pieces := []piece{{0, 0x9fc00}, {1 << 20, low - 1<<20}}
	if size > low {
		pieces = append(pieces, piece{4 << 30, size - low})
	}
	return pieces
}

func placeInitrdSolution(size, ramEnd, limit uint64, kernel piece) (uint64, bool) {
	const lowest = 1 << 20
	end := min(ramEnd, limit+1)
	for _, end := range []uint64{end, min(end, kernel.addr)} { // above the kernel, then below
		if size > end || end-size < lowest {
			continue
		}
		if addr := (end - size) &^ 4095; addr >= lowest && (addr >= kernel.addr+kernel.size || addr+size <= kernel.addr) {
			return addr, true
		}
	}
	return 0, false
}
