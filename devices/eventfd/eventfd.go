// Package eventfd wraps Linux's eventfd(2): a counter in the kernel that one
// side adds to and another waits for. KVM takes them as irqfds and ioeventfds,
// which makes them the glue between device goroutines and the guest.
//
// A waiting goroutine is parked in the runtime's poller and holds no thread.
// The counter's value is not reported, only that it was not zero: an Event
// says that something happened, not how often.
package eventfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An Event is a non-blocking, close-on-exec eventfd. It is a devices.IRQ.
//
// Any number of goroutines may call Signal, Trigger, FD and Close at once;
// one at a time may call Wait. No method but New allocates.
type Event struct {
	// mu keeps the descriptor from being closed, and its number from being
	// reused, during a Signal. It is never held across anything that blocks.
	mu      sync.RWMutex
	fd      int      // -1 when closed
	file    *os.File // nil if nobody here waits
	add     [8]byte  // what Signal writes: the number one in host byte order
	counter [8]byte  // what Wait reads into
}

// New returns an Event whose counter is zero. The caller closes it.
func New() (*Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	// os.NewFile puts a descriptor that is non-blocking already into the
	// poller and leaves it non-blocking for good.
	file := os.NewFile(uintptr(fd), "eventfd")
	// It does not say whether the poller took it; setting a deadline does.
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	e := &Event{fd: fd, file: file}
	binary.NativeEndian.PutUint64(e.add[:], 1)
	return e, nil
}

// NewSource returns an Event that is only signalled from here: the kernel waits for it, as KVM does for an irqfd. Wait is
// not to be called. It is not in the runtime's poller, which its signals would wake for nothing.
func NewSource() (*Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	e := &Event{fd: fd}
	binary.NativeEndian.PutUint64(e.add[:], 1)
	return e, nil
}

// Signal adds one to the counter and so wakes the goroutine in Wait, or makes
// its next Wait return at once. It never blocks: a counter that is full counts
// as signalled. After Close it returns os.ErrClosed.
func (e *Event) Signal() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.fd < 0 {
		return os.ErrClosed
	}
	for {
		// Not file.Write, which would wait for room in a full counter, and
		// not unix.Write, which the race detector does not connect with the
		// Read in Wait.
		_, err := syscall.Write(e.fd, e.add[:])
		switch err {
		case nil, syscall.EAGAIN:
			return nil
		case syscall.EINTR:
		default:
			return os.NewSyscallError("write eventfd", err)
		}
	}
}

// Trigger is Signal under the name that devices.IRQ gives it.
func (e *Event) Trigger() error { return e.Signal() }

// Wait blocks until the counter is not zero and makes it zero. Signals that
// came before are one. After Close, which wakes it, it returns os.ErrClosed.
//
// To wait for a context as well, let its end signal the event:
//
//	stop := context.AfterFunc(ctx, func() { e.Signal() })
//	defer stop()
//	for ctx.Err() == nil {
//		if err := e.Wait(); err != nil { ... }
//	}
func (e *Event) Wait() error {
	_, err := e.file.Read(e.counter[:])
	if errors.Is(err, os.ErrClosed) {
		return os.ErrClosed
	}
	return err
}

// FD returns the descriptor, to hand to the kernel, or -1 after Close. It
// stays non-blocking and stays the Event's: the caller must not close it.
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
	switch {
	case fd < 0:
		return os.ErrClosed
	case e.file == nil:
		return os.NewSyscallError("close eventfd", unix.Close(fd))
	}
	return e.file.Close()
}
