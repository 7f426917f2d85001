// Package eventfd wraps Linux's eventfd(2): a counter in the kernel that one
// side adds to and another waits for. KVM takes them as irqfds and ioeventfds,
// which makes them the glue between device goroutines and the guest.
//
// A goroutine that waits holds a thread, which is blocked in the kernel (package wait). Parked in the runtime's
// poller it would hold none, but then a signal has to wake the thread that polls, and that one the goroutine, which takes several
// times as long (kvm's BenchmarkDoorbell measures it, and so does make bench).
//
// The counter's value is not reported, only that it was not zero: an Event
// says that something happened, not how often.
package eventfd

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"govmm/devices/wait"
)

// An Event is a close-on-exec eventfd. It is a devices.IRQ.
//
// Any number of goroutines may call Signal, Trigger, FD and Close at once;
// one at a time may call Wait. No method but New allocates.
type Event struct {
	// mu keeps the descriptor from being closed, and its number from being
	// reused, during a Signal. It is never held across anything that blocks.
	mu  sync.RWMutex
	fd  int     // -1 when closed
	add [8]byte // what Signal writes: the number one in host byte order

	// waiting is held during a Wait, which uses the descriptor without mu.
	waiting sync.Mutex
	counter [8]byte // what Wait reads into
	poll    [1]unix.PollFd
	waiter  wait.Waiter
}

// New returns an Event whose counter is zero. The caller closes it.
func New() (*Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	e := &Event{fd: fd}
	binary.NativeEndian.PutUint64(e.add[:], 1)
	return e, nil
}

// Signal adds one to the counter and so wakes the goroutine in Wait, or makes
// its next Wait return at once. It does not block: to fill the counter takes
// 2^64 signals. After Close it returns os.ErrClosed.
func (e *Event) Signal() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.fd < 0 {
		return os.ErrClosed
	}
	return e.signal(e.fd)
}

func (e *Event) signal(fd int) error {
	for {
		// Not unix.Write, which the race detector does not connect with the Read in Wait.
		_, err := syscall.Write(fd, e.add[:])
		if err != syscall.EINTR {
			return os.NewSyscallError("write eventfd", err)
		}
	}
}

// Trigger is Signal under the name that devices.IRQ gives it.
func (e *Event) Trigger() error { return e.Signal() }

// Wait blocks until the counter is not zero and makes it zero. Signals that
// came before are one. After Close, which wakes it, it returns os.ErrClosed.
//
// To wait for a context as well, let its end signal the event (Watch).
func (e *Event) Wait() error {
	e.waiting.Lock()
	defer e.waiting.Unlock()
	for {
		fd := e.FD()
		if fd < 0 {
			return os.ErrClosed
		}
		e.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		if err := e.waiter.Poll(e.poll[:]); err != nil {
			return err
		}
		_, err := syscall.Read(fd, e.counter[:])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return os.NewSyscallError("read eventfd", err)
		case e.FD() < 0:
			return os.ErrClosed
		default:
			return nil
		}
	}
}

// FD returns the descriptor, to hand to the kernel, or -1 after Close. It
// stays the Event's: the caller must not close it.
func (e *Event) FD() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.fd
}

// Close releases the descriptor and wakes a goroutine in Wait. A kernel object
// that was given the descriptor keeps its own reference. A second Close
// returns os.ErrClosed.
func (e *Event) Close() error {
	e.mu.Lock()
	fd := e.fd
	e.fd = -1
	e.mu.Unlock()
	if fd < 0 {
		return os.ErrClosed
	}
	// A Wait reads until there is something to read.
	err := e.signal(fd)
	e.waiting.Lock()
	defer e.waiting.Unlock()
	if closeErr := unix.Close(fd); err == nil {
		err = os.NewSyscallError("close eventfd", closeErr)
	}
	return err
}
