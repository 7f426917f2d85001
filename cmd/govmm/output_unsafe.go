package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawWrite is write(2) in a raw system call, for a descriptor that does not block: in a plain one, the runtime would take the vCPU's
// P from it and have a thread look for other work, for every byte that a guest prints.
func rawWrite(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}
