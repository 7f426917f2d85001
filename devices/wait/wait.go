// Package wait blocks goroutines until a file descriptor is ready, and lets some of them keep their P meanwhile.
//
// A goroutine in a plain system call leaves its P, the runtime's right to run Go code, to others. The runtime takes it with a
// thread of its own (sysmon), which for that is awake as long as such calls come and go, and wakes another thread to look for
// work, mostly in vain. A device that is woken for each request then causes three wake-ups where one was wanted. So where a
// machine has raised GOMAXPROCS for it (Reserve), a goroutine waits as if it computed.
//
// The runtime interrupts whatever has computed for 10 ms, or at once if it has to stop the world, with a signal. Hence after one the
// goroutine waits in a plain system call, until it was woken by its descriptor: what is idle holds no P.
package wait

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// spare is how many goroutines may still begin to keep their P.
var spare atomic.Int64

// Reserve lets n goroutines more keep their P in Poll; a negative n takes that back. The caller has raised, or then lowers, GOMAXPROCS by as much: else
// the goroutines that wait could keep others from running for 10 ms.
func Reserve(n int) { spare.Add(int64(n)) }

// Poll blocks until one of fds is ready, as poll(2) without a time limit does, and sets Revents. It does not allocate.
func Poll(fds []unix.PollFd) error {
	if spare.Add(-1) >= 0 {
		errno := hold(fds)
		spare.Add(1)
		if errno != unix.EINTR {
			return result(errno)
		}
	} else {
		spare.Add(1)
	}
	for {
		if errno := yield(fds); errno != unix.EINTR {
			return result(errno)
		}
	}
}

func result(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError("ppoll", errno)
}
