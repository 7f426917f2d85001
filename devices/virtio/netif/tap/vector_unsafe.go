package tap

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fill makes vector the segments, as many as it has room for, and returns their number. None is empty.
func fill(vector []unix.Iovec, segments [][]byte) int {
	n := min(len(vector), len(segments))
	for i, s := range segments[:n] {
		vector[i].Base = unsafe.SliceData(s)
		vector[i].SetLen(len(s))
	}
	return n
}

// transfer is readv or writev, whose counterparts in package unix allocate the vector. It is a raw system call, which keeps its P (package
// wait): the descriptor does not block, and a plain call that takes longer than some 20 us, as to write a large segment does, wakes two other threads.
//
//go:noinline
func transfer(trap uintptr, fd int, vector []unix.Iovec) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(vector))), uintptr(len(vector)))
	return int(n), errno
}
