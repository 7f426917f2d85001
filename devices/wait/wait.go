// Package wait blocks goroutines until a file descriptor is ready, and lets some of them keep their P meanwhile.
//
// A goroutine in a plain system call leaves its P, the runtime's right to run Go code, to others. The runtime takes it with a
// thread of its own (sysmon), which for that is awake as long as such calls come and go, and wakes another thread to look for
// work, mostly in vain. A device that is woken for each request then causes three wake-ups where one was wanted. So where a
// machine has reserved Ps for it (Reserve), a goroutine waits as if it computed.
//
// The runtime interrupts whatever has computed for 10 ms, or at once if it has to stop the world, with a signal. Hence after one the
// goroutine waits in a plain system call, until it was woken by its descriptor: what is idle holds no P.
package wait

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// keepBelow is how soon a waiter must be woken again for its P to have been worth keeping. The runtime lets 10 ms pass.
const keepBelow = 8 * time.Millisecond

// A waiter keeps its P when keepAfter more waits were short than forget times as many were not, up to twice as many. A disk that is looked at once
// when the guest boots has fewer. To keep a P in vain costs a signal, to have it taken costs the next one who waits two wake-ups of other threads: so a
// waiter goes on as long as a third of its waits, or less, are long.
const (
	keepAfter = 16
	forget    = 2
)

// began is what times are counted from. The clock is read once for time.Since, twice for time.Now, and each is a system call where the
// host's clocksource is none that programs can read (vdso(7)), as in most virtual machines that run virtual machines.
var began = time.Now()

// A Waiter is one place where a goroutine waits again and again. The zero value is ready; one goroutine at a time may use it.
//
// It keeps its P only while it is woken often, so that devices which are there but not used cost neither a P nor a thread to use it.
type Waiter struct {
	short int           // waits that ended soon after the one before, less forget for each other, 0 to 2*keepAfter
	woken time.Duration // when the last one ended
}

// Poll blocks until one of fds is ready, as poll(2) without a time limit does, and sets Revents. It does not allocate.
func (w *Waiter) Poll(fds []unix.PollFd) error {
	err := poll(fds, w.short >= keepAfter)
	now := time.Since(began)
	if now-w.woken < keepBelow {
		w.short = min(w.short+1, 2*keepAfter)
	} else {
		w.short = max(w.short-forget, 0)
	}
	w.woken = now
	return err
}

func poll(fds []unix.PollFd, keep bool) error {
	if keep && owed.Load() {
		settle()
	}
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
