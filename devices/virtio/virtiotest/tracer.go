package virtiotest

import (
	"slices"
	"sync"
	"time"

	"govmm/devices/virtio"
)

// A Tracer keeps what a device tells, in order. It is a virtio.Tracer, ready as its zero value.
type Tracer struct {
	mu        sync.Mutex
	now       time.Duration
	doorbells []int
	requests  []virtio.Request
}

// Now implements virtio.Tracer by a clock that is another at each look.
func (t *Tracer) Now() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now++
	return t.now
}

// Doorbell implements virtio.Tracer.
func (t *Tracer) Doorbell(queue int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doorbells = append(t.doorbells, queue)
}

// Request implements virtio.Tracer.
func (t *Tracer) Request(r virtio.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests = append(t.requests, r)
}

// Doorbells are the queues whose doorbells were told of.
func (t *Tracer) Doorbells() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.doorbells)
}

// Requests are those that were told of.
func (t *Tracer) Requests() []virtio.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}
