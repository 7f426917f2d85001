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
	"time"

	"golang.org/x/sys/unix"
)

// spare is how many goroutines may still begin to keep their P.
var spare atomic.Int64

// Reserve lets n goroutines more keep their P in Waiter.Poll; a negative n takes that back. The caller has raised, or then lowers, GOMAXPROCS by as much: else
// the goroutines that wait could keep others from running for 10 ms.
func Reserve(n int) { spare.Add(int64(n)) }

// keepBelow is how long a wait may have lasted for the next one to keep its P. The runtime lets 10 ms pass.
const keepBelow = 5 * time.Millisecond

// A Waiter is one place where a goroutine waits again and again. The zero value is ready; one goroutine at a time may use it.
//
// It keeps its P only while waits are short, so that devices which are there but not used cost neither a P nor a thread to use it.
type Waiter struct{ short bool }

// Poll blocks until one of fds is ready, as poll(2) without a time limit does, and sets Revents. It does not allocate.
func (w *Waiter) Poll(fds []unix.PollFd) error {
	start := time.Now()
	err := poll(fds, w.short)
	w.short = time.Since(start) < keepBelow
	return err
}

func poll(fds []unix.PollFd, keep bool) error {
	if keep && spare.Add(-1) >= 0 {
		errno := hold(fds)
		spare.Add(1)
		if errno != unix.EINTR {
			return result(errno)
		}
	} else if keep {
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
