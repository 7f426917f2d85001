package blk

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// halt waits for an interrupt. Signals end poll, as they end KVM_RUN: the collector stops a thread by one.
func (d *benchDriver) halt() {
	fds := unix.PollFd{Fd: int32(d.fd), Events: unix.POLLIN}
	for fds.Revents == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_POLL, uintptr(unsafe.Pointer(&fds)), 1, ^uintptr(0))
		runtime.Gosched() // as the machine does after each exit
	}
	var counter [8]byte
	_, _ = unix.Read(d.fd, counter[:])
}
