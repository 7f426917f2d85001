package memory

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapAnonymous maps size bytes of zeros: private, on host pages that are found
// at first touch.
//
// MAP_NORESERVE keeps the RAM of idle guests from counting against the host's
// overcommit limit (mmap(2)). Whether a touch costs 4 KiB or a transparent huge
// page of 2 MiB, which takes more memory and fewer faults, is left to the host's
// setting from smallBelow on. KVM can map huge pages to the guest only where guest-physical and host
// addresses agree in their low 21 bits, and not every kernel places mappings so; a few
// untouched pages more make it true here.
func mapAnonymous(base, size uint64) (mapping, data []byte, err error) {
	const (
		prot  = unix.PROT_READ | unix.PROT_WRITE
		flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE
	)
	mapping, err = unix.Mmap(-1, 0, int(size+hugePage), prot, flags)
	if err != nil {
		return nil, nil, fmt.Errorf("memory: mapping %d bytes of guest RAM: %w", size, os.NewSyscallError("mmap", err))
	}
	notInDumps(mapping)
	skip := (base - address(mapping)) % hugePage
	data = mapping[skip:][:size:size]
	if base < smallBelow {
		smallPages(data[:min(size, smallBelow-base)])
	}
	smallPages(mapping[skip+size:]) // so that none reaches beyond the RAM
	return mapping, data, nil
}

// notInDumps keeps the guest's memory out of core files of this process, which are given to whatever the host names as their handler. The error is that of a kernel without
// core files.
func notInDumps(p []byte) { _ = unix.Madvise(p, unix.MADV_DONTDUMP) }

// smallPages has the host use no huge pages in p, which is page aligned. The error is that of a host without any.
func smallPages(p []byte) {
	if len(p) > 0 {
		_ = unix.Madvise(p, unix.MADV_NOHUGEPAGE)
	}
}

// smallBelow is the guest-physical address below which RAM has no huge pages, whatever the host's setting. There a small Linux guest takes
// its first pages, of each kind of use (movable, reclaimable) from 2 MiB of their own, most of which stay untouched in a guest that does little. Linux
// itself lies above 16 MiB, and so does what a guest uses that does much.
const smallBelow = 16 << 20

// hugePage is the size of x86's and arm64's smallest huge page.
const hugePage = 2 << 20

func unmap(data []byte) error {
	if err := unix.Munmap(data); err != nil {
		return fmt.Errorf("memory: unmapping guest RAM: %w", os.NewSyscallError("munmap", err))
	}
	return nil
}

// Resident returns how many bytes of the RAM are in host memory now. A page
// that was only read counts as well, although it is the one page of zeros that
// the host shares among all. The answer is out of date as soon as it is made.
//
// It asks about every page of the RAM, touched or not, which takes a fraction of
// a millisecond per GiB.
func (m *Memory) Resident() (uint64, error) {
	page := os.Getpagesize()
	// One byte a page; in chunks, so that a large guest costs no large vector.
	vec := make([]byte, 16<<10)
	var pages uint64
	for i := range m.regions {
		data := m.regions[i].Data
		for len(data) > 0 {
			chunk := data[:min(len(data), len(vec)*page)]
			data = data[len(chunk):]
			if err := mincore(chunk, vec); err != nil {
				return 0, fmt.Errorf("memory: counting resident pages: %w", os.NewSyscallError("mincore", err))
			}
			for _, v := range vec[:len(chunk)/page] {
				pages += uint64(v & 1) // the other bits are reserved (mincore(2))
			}
		}
	}
	return pages * uint64(page), nil
}
