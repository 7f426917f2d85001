package guest

import (
	"sync"

	"govmm/agent"
)

// A credit is how many bytes of output the host has room for.
type credit struct {
	mu   sync.Mutex
	more *sync.Cond
	left int
}

func newCredit() *credit {
	c := &credit{left: agent.OutputWindow}
	c.more = sync.NewCond(&c.mu)
	return c
}

// reserve waits until there is some, and takes no more than most.
func (c *credit) reserve(most int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.left == 0 {
		c.more.Wait()
	}
	n := min(most, c.left)
	c.left -= n
	return n
}

// add gives some back.
func (c *credit) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left += n
	c.more.Broadcast() // there are two outputs
}
