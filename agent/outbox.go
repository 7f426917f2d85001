package agent

import "sync"

// An outbox holds output that is to be passed on, as frames of a kind, two bytes that are not used and a length each. To put it there never blocks, so that what comes
// behind it is heard, and the guest's console always has somebody who takes.
type outbox struct {
	mu     sync.Mutex
	frames []byte
	size   int           // bytes of output that were put there and not passed on
	over   bool          // no more will come
	change chan struct{} // holds a token when there is something new
}

func newOutbox() outbox { return outbox{change: make(chan struct{}, 1)} }

// put adds a frame's payload, if it has room for it.
func (b *outbox) put(kind Kind, p []byte) bool {
	if len(p) == 0 { // of which there would be room for any number
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size+len(p) > OutputWindow {
		return false
	}
	b.size += len(p)
	b.frames = AppendFrame(b.frames, kind, p)
	b.tell()
	return true
}

// end says that no more will come. It may be called again.
func (b *outbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	b.tell()
}

func (b *outbox) tell() {
	select {
	case b.change <- struct{}{}:
	default:
	}
}

// take gives what is there, in exchange for a buffer, and whether that was the last.
func (b *outbox) take(buf []byte) (frames []byte, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	frames, b.frames = b.frames, buf[:0]
	return frames, b.over
}

// passed makes room.
func (b *outbox) passed(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size -= n
}
