package wait

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hold is ppoll(2) in a raw system call, which keeps the P. It must be one that the kernel does not start again after a signal
// handler with SA_RESTART (signal(7)), and its caller must be at a preemption point when it returns: hence it is a function of its own.
//
//go:noinline
func hold(fds []unix.PollFd) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), 0, 0, 0, 0)
	return errno
}

func yield(fds []unix.PollFd) unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), 0, 0, 0, 0)
	return errno
}
