package netif

import "errors"

// maxAnswer is how many frames the transmitter receives. What goes on is a stream, and the receiver's.
const maxAnswer = 4

// answer gives the driver what the network has answered at once to what was just sent. It is for the transmitter's goroutine, with the pair
// on hold, and does nothing unless the receiver waits for a frame. The error is the driver's.
func (r *receiver) answer(pair Answerer) error {
	if !r.mu.TryLock() {
		pair.Release(false)
		return nil
	}
	defer r.mu.Unlock()
	more, err := r.answers(pair)
	r.tell()
	pair.Release(more)
	return err
}

// answers reports whether the receiver has something left to do.
func (r *receiver) answers(pair Answerer) (more bool, err error) {
	for range maxAnswer {
		if err := r.fill(); err != nil {
			return false, err
		}
		if !r.enough() {
			return true, nil // it waits for buffers
		}
		begun := r.now()
		n, err := pair.Receive(r.held.segments)
		if err != nil {
			// What is an error of the host's as well the receiver finds itself.
			return !errors.Is(err, ErrNoFrame), nil
		}
		r.deliver(min(n, r.held.room), begun)
	}
	return true, nil
}
