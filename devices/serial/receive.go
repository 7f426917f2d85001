package serial

import "context"

// Receive feeds p to the guest as input. It blocks until all of p has gone
// into the receive FIFO, as the guest makes room by reading, or until ctx
// ends. It returns how many bytes were taken and, when those are not all,
// ctx's error. Bytes that were taken stay, whatever becomes of ctx, and are
// held back until the guest listens. Concurrent calls take turns, each with
// all of its bytes.
func (u *UART) Receive(ctx context.Context, p []byte) (int, error) {
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n := 0; ; {
		// Both channels may be ready, and select picks either.
		if err := ctx.Err(); err != nil {
			return n, err
		}
		n += u.receive(p[n:])
		if n == len(p) {
			return n, nil
		}
		select {
		case <-u.room:
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

// receive puts as much of p into the FIFO as there is room for.
func (u *UART) receive(p []byte) int {
	u.mu.Lock()
	n := u.input.push(p)
	edge := u.updateInterrupt()
	u.mu.Unlock()
	if edge {
		u.trigger()
	}
	return n
}

// tookInput is called after a guest's access. It wakes Receive if the access
// has taken or cleared the last of before bytes.
func (u *UART) tookInput(before int) {
	if before > 0 && u.input.n == 0 {
		u.signalRoom()
	}
}

// signalRoom wakes Receive. It never blocks: a token that is there already
// does for this time as well.
func (u *UART) signalRoom() {
	select {
	case u.room <- struct{}{}:
	default:
	}
}

// fifoSize is the depth of the 16550's receive FIFO (PC16550D section 1.0).
const fifoSize = 16

// A fifo is a ring of received bytes.
type fifo struct {
	buf  [fifoSize]byte
	head int // index of the oldest byte
	n    int // number of bytes, 0 to fifoSize
}

// push appends as much of p as there is room for and returns how much.
func (f *fifo) push(p []byte) int {
	taken := 0
	for f.n < fifoSize && taken < len(p) {
		f.buf[(f.head+f.n)%fifoSize] = p[taken]
		f.n++
		taken++
	}
	return taken
}

// pop takes the oldest byte out. The fifo is not empty.
func (f *fifo) pop() byte {
	v := f.buf[f.head]
	f.head = (f.head + 1) % fifoSize
	f.n--
	return v
}

func (f *fifo) clear() { f.head, f.n = 0, 0 }
