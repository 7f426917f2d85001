package memory

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotRAM says that a window is not a part of the guest's RAM.
var ErrNotRAM = errors.New("memory: the window is not guest RAM")

// Discard gives back the host's memory behind window, a slice that WriteSlice returned or a part of one. Only
// pages of the host that lie in it as a whole are given back. They hold host memory again from the
// next touch on, by whomever; a guest may touch them at any time, also during the call.
//
// What the pages contain after that is undefined. Anonymous memory is zeros then. Where MapFile has put a
// file, the file's content comes back, which the guest had from the beginning: nothing leaks. For a
// balloon that is enough, because a driver must not count on the content of pages that it has given away.
//
// The error is ErrNotRAM, or the host's. A successful call does not allocate. RAM must stay a private mapping for this
// to be of use: of a shared one, the pages would stay in the file behind it.
func (m *Memory) Discard(window []byte) error {
	if len(window) == 0 {
		return nil
	}
	if !m.contains(window) {
		return ErrNotRAM
	}
	page := uint64(os.Getpagesize())
	skip := (page - address(window)%page) % page
	if skip >= uint64(len(window)) {
		return nil
	}
	pages := window[skip:]
	pages = pages[:uint64(len(pages))/page*page]
	if len(pages) == 0 {
		return nil
	}
	if err := unix.Madvise(pages, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("memory: discarding guest RAM: %w", os.NewSyscallError("madvise", err))
	}
	return nil
}

// contains reports whether window, which is not empty, lies inside one region.
func (m *Memory) contains(window []byte) bool {
	for i := range m.regions {
		data := m.regions[i].Data
		off := address(window) - address(data) // wraps, and is then large
		if off < uint64(len(data)) && uint64(len(window)) <= uint64(len(data))-off {
			return true
		}
	}
	return false
}
