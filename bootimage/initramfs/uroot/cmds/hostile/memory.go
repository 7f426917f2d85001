package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	pageSize   = 4096
	pinnedSize = 4 << 20
)

// pinned is memory that stays where it is, and where that is.
type pinned struct {
	bytes []byte
	pages []uint64 // physical addresses
}

// pin takes memory that is locked, and looks its physical addresses up.
func pin(size int) (*pinned, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_LOCKED|unix.MAP_POPULATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	for i := 0; i < size; i += pageSize {
		b[i] = 1
	}
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &pinned{bytes: b}
	entries := make([]byte, size/pageSize*8)
	if _, err := f.ReadAt(entries, int64(addressOf(b)/pageSize*8)); err != nil {
		return nil, fmt.Errorf("pagemap: %w", err)
	}
	for ; len(entries) > 0; entries = entries[8:] {
		// Bits 0 to 54 are the page frame number, 63 says that the page is there (Documentation/admin-guide/mm/pagemap.rst).
		e := binary.LittleEndian.Uint64(entries)
		frame := e & (1<<55 - 1)
		if e>>63 == 0 || frame == 0 {
			return nil, errors.New("pagemap does not tell physical addresses")
		}
		m.pages = append(m.pages, frame*pageSize)
	}
	return m, nil
}

// page returns page i with its physical address.
func (m *pinned) page(i int) ([]byte, uint64) { return m.bytes[i*pageSize:][:pageSize], m.pages[i] }
