package netif

// maxAnswer is how many frames the transmitter receives. What goes on is a stream, and the receiver's.
const maxAnswer = 4

// answer gives the driver what the network has answered at once to what was just sent. It is for the transmitter's goroutine, with the pair
// on hold, and does nothing where the receiver is at work. The error is the driver's.
func (r *receiver) answer(pair Answerer) error {
	if !r.mu.TryLock() {
		pair.Release(false)
		return nil
	}
	more, err := r.answers(pair)
	r.tell()
	r.mu.Unlock()
	pair.Release(more) // after mu, for which the receiver would otherwise wake in vain
	return err
}

// answers reports whether the pair may have more of what it has given a part of.
func (r *receiver) answers(pair Answerer) (more bool, err error) {
	for taken := range maxAnswer {
		if err := r.fill(); err != nil {
			return false, err
		}
		if !r.enough() {
			return taken > 0, nil // the receiver knows what to do without buffers
		}
		begun := r.now()
		n, err := pair.Receive(r.held.segments)
		if err != nil {
			return false, nil // one of the host's the receiver finds itself
		}
		r.deliver(min(n, r.held.room), begun)
	}
	return true, nil
}
