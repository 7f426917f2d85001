// Package throttle limits how much of something a device gives its guest in a second: bytes or
// operations, counted by a token bucket.
//
// What is asked for is the guest's, as much and as often as it likes; a Bucket holds four numbers whatever comes.
package throttle

import (
	"context"
	"sync"
	"time"
)

// A Bucket fills with Rate tokens a second up to Burst, and is full at the beginning. Take removes tokens, more than
// there are if need be: the debt is then paid before the next ones. So no request is too large to be served, and
// the average holds. The zero value has no limit. The fields are not to be changed after the first Take; methods may
// be called from any goroutine.
type Bucket struct {
	Rate  uint64 // tokens a second; 0 for no limit
	Burst uint64 // tokens that may gather; 0 counts as one second's

	mu   sync.Mutex
	at   time.Time // of level; zero before the first Take
	debt float64   // tokens missing from a full bucket at that time
}

// Take takes n tokens at time now and returns how long to wait before what they were for.
func (b *Bucket) Take(n uint64, now time.Time) time.Duration {
	if b.Rate == 0 {
		return 0
	}
	burst := b.Burst
	if burst == 0 {
		burst = b.Rate
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() {
		// A clock that goes back gives nothing.
		b.debt = max(0, b.debt-max(0, now.Sub(b.at).Seconds())*float64(b.Rate))
	}
	b.at = now
	b.debt += float64(n)
	over := b.debt - float64(burst)
	if over <= 0 {
		return 0
	}
	return time.Duration(min(over/float64(b.Rate), maxWait.Seconds()) * float64(time.Second))
}

// maxWait bounds one wait, whatever the debt.
const maxWait = time.Hour

// Wait takes n tokens and waits as Take says, or until ctx ends, which is its error. The tokens are
// gone in either case.
func (b *Bucket) Wait(ctx context.Context, n uint64) error {
	wait := b.Take(n, time.Now())
	if wait == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
