package netif

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// giveWay makes the calling goroutine one that does not preempt others when it is woken (SCHED_BATCH, sched(7)), until it ends, and its
// thread with it.
//
// Where processors are short, as with one for all, a doorbell would have the device take the processor from the very vCPU
// that rang. Linux rings it for each packet and holds the queue's lock: the interrupt that follows makes another vCPU spin for the lock, and
// packets go one at a time. So the driver goes on until it has no more to send, or its turn is over.
func giveWay() {
	runtime.LockOSThread()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return // the user has chosen another
	}
	attr.Policy = unix.SCHED_BATCH
	// Where it is forbidden, packets go one at a time.
	_ = unix.SchedSetAttr(0, attr, 0)
}
