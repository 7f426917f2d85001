package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

// pageTables maps one page, that of the address virtual, to codePage: an entry in each of four tables.
func pageTables(virtual uint64) []byte {
	all := make([]byte, 4*4096)
	for i := range uint64(4) {
		next := tables + (i+1)*4096
		if i == 3 {
			next = codePage
		}
		binary.LittleEndian.PutUint64(all[i*4096+8*index(virtual, 4-i):], next|present|writable)
	}
	return all
}

// index is the entry of the table of that level, 4 to 1, that virtual goes through: 9 of its bits.
func index(virtual, level uint64) uint64 { return virtual >> (12 + 9*(level-1)) & 511 }

// at runs the guest at a virtual address of the user's, and shows the entries on the way to it.
func at(address string, out io.Writer) error {
	virtual, err := strconv.ParseUint(address, 0, 64)
	if err != nil {
		return err
	}
	mapping := pageTables(virtual)
	for i := range uint64(4) {
		n := index(virtual, 4-i)
		fmt.Fprintf(out, "level %d, entry %3d: %#x\n", 4-i, n, binary.LittleEndian.Uint64(mapping[i*4096+8*n:]))
	}
	offset := virtual & 0xfff
	said, physical, err := run(map[uint64][]byte{codePage + offset: guest, tables: mapping}, longMode, virtual)
	if err == nil {
		fmt.Fprintf(out, "the processor finds %#x at %#x; the guest says %s\n", virtual, physical, said)
	}
	return err
}
