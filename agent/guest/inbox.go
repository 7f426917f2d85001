package guest

import "sync"

// An inbox is input that the command has not taken, of which the host sends no more than agent.Window. To put it there never
// blocks, in however small pieces it comes, so that what comes behind it is heard.
type inbox struct {
	mu   *sync.Mutex
	more *sync.Cond
	held []byte
	end  bool
}

func newInbox() inbox {
	mu := new(sync.Mutex)
	return inbox{mu: mu, more: sync.NewCond(mu)}
}

// put adds a piece; an empty one is the end.
func (b *inbox) put(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, p...)
	b.end = b.end || len(p) == 0
	b.more.Signal()
}

// take waits for input and gives all there is, and whether that was the last.
func (b *inbox) take() (p []byte, end bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.held) == 0 && !b.end {
		b.more.Wait()
	}
	p, b.held = b.held, nil
	return p, b.end
}
