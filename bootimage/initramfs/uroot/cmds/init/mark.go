package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The port at which govmm takes the mark that init runs (machine.MarkPort).
const markPort, markInit = 0x690, 1

// markStart tells the monitor that init runs. It uses the port itself, because most kernels come
// without /dev/port; where the kernel does not allow that either, nobody is told.
func markStart() error {
	// The permission is the thread's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch err := unix.Ioperm(markPort, 1, 1); err {
	case nil:
	case unix.ENOSYS, unix.EPERM:
		return nil
	default:
		return os.NewSyscallError("ioperm", err)
	}
	outb(markPort, markInit)
	return os.NewSyscallError("ioperm", unix.Ioperm(markPort, 1, 0))
}

// outb writes a byte to an I/O port (mark_amd64.s).
func outb(port uint16, v byte)
