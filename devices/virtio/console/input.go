package console

import (
	"context"
	"sync"

	"govmm/devices/virtio"
)

// An input is the bytes on their way from Receive to the guest.
type input struct {
	turn  chan struct{} // holds a token while a Receive is under way
	fed   chan struct{} // holds a token when Receive has brought bytes or the driver has opened the port
	taken chan struct{} // holds a token when the last of them was taken

	mu   sync.Mutex
	rest []byte // of what Receive was given
	open bool   // the driver takes input
}

func newInput() input {
	return input{turn: make(chan struct{}, 1), fed: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
}

// Receive feeds p to the guest as input. It blocks until all of p is in buffers that the guest gave, or until ctx
// ends; a guest that has no driver, or one that has not opened the port, takes none. It returns how many bytes were taken and, when those are not all, ctx's
// error. What was taken the guest gets, also after a pause. Concurrent calls take turns, each with all of its bytes.
func (d *Device) Receive(ctx context.Context, p []byte) (int, error) {
	in := &d.input
	select {
	case in.turn <- struct{}{}:
		defer func() { <-in.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	// Both channels may have been ready, and select picks either.
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	in.bring(p)
	for in.waiting() {
		select {
		case <-in.taken:
		case <-ctx.Done():
			if left := in.takeBack(); left > 0 {
				return len(p) - left, ctx.Err()
			}
		}
	}
	return len(p), nil
}

// bring makes p the bytes that wait.
func (in *input) bring(p []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.rest = p
	signal(in.fed)
}

// takeBack leaves nothing that waits, and returns how many bytes did.
func (in *input) takeBack() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	left := len(in.rest)
	in.rest = nil
	return left
}

// waiting reports whether bytes wait for the guest.
func (in *input) waiting() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.rest) > 0
}

// setOpen says whether the driver takes input.
func (in *input) setOpen(open bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.open = open
	signal(in.fed)
}

// ready reports whether bytes wait that the guest would take.
func (in *input) ready() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.open && len(in.rest) > 0
}

// fill moves as many bytes as fit to c, and returns false if there are none to move or the driver does not take them.
func (in *input) fill(c *virtio.Chain) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.open || len(in.rest) == 0 {
		return false
	}
	n, _ := c.Write(in.rest) // the error is that they do not all fit
	in.rest = in.rest[n:]
	if len(in.rest) == 0 {
		in.rest = nil // it is the caller's
		signal(in.taken)
	}
	return true
}
