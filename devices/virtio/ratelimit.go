package virtio

import (
	"sync"
	"time"
)

// A RateLimit lets one log line pass in ten seconds, so that a guest or a dying
// disk that causes errors at will does not fill the log. The zero value is
// ready, and safe for concurrent use.
type RateLimit struct {
	mu         sync.Mutex
	next       time.Time
	suppressed int
}

const rateLimitInterval = 10 * time.Second

// Allow reports whether a line may be logged now, and how many were not
// since the last one that was.
func (r *RateLimit) Allow(now time.Time) (suppressed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.next) {
		r.suppressed++
		return 0, false
	}
	suppressed, r.suppressed = r.suppressed, 0
	r.next = now.Add(rateLimitInterval)
	return suppressed, true
}
