package probe

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A charge is what the processes of a fork bomb share.
type charge struct {
	most    int32
	started atomic.Int32 // processes, and those that could not be started when most was reached
	errno   atomic.Int32 // by which the first fork failed
}

// chargeIn is the charge at the start of shared memory.
func chargeIn(page []byte) *charge { return (*charge)(unsafe.Pointer(&page[0])) }

// await returns when there are as many processes as wanted, when no more can be, or when the time is over; in the last case it says no.
func (c *charge) await(patience time.Duration) bool {
	for end := time.Now().Add(patience); c.started.Load() < c.most && c.errno.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// light starts the first process, in a process group of its own, which has its number.
func (c *charge) light() (pid int, errno unix.Errno) {
	c.started.Add(1)
	child, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if errno != 0 || child != 0 {
		if errno == 0 { // the child does it too: whoever is first
			unix.RawSyscall(unix.SYS_SETPGID, child, child, 0)
		}
		return int(child), errno
	}
	unix.RawSyscall(unix.SYS_SETPGID, 0, 0, 0)
	c.burn()
	return 0, 0
}

// burn forks for ever, in every process that comes of it. The first failure ends that, and all wait for their end.
//
// These processes are copies of a Go process without its threads, and so without most of its runtime: they may only compute and make raw system calls.
//
//go:nosplit
func (c *charge) burn() {
	for c.errno.Load() == 0 && c.started.Add(1) <= c.most {
		_, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
		if errno != 0 {
			c.started.Add(-1)
			c.errno.CompareAndSwap(0, int32(errno))
		}
	}
	for {
		unix.RawSyscall(unix.SYS_PAUSE, 0, 0, 0)
	}
}
