package eventfd

import "context"

// A Watch has the end of a context signal an event. The zero value watches nothing; one goroutine at a time may use it.
//
//	watch.For(ctx, e)
//	for ctx.Err() == nil {
//		if err := e.Wait(); err != nil { ... }
//	}
type Watch struct {
	done    <-chan struct{}
	release func() bool
}

// For makes the end of ctx signal e, and forgets an earlier context, of which a signal may still come: that is a wake-up for nothing.
// It costs nothing when ctx is the same as the last time, and e must be. If e is closed by then, nothing happens.
func (w *Watch) For(ctx context.Context, e *Event) {
	done := ctx.Done()
	if done == w.done {
		return
	}
	if w.release != nil {
		w.release()
	}
	w.done, w.release = done, context.AfterFunc(ctx, func() { _ = e.Signal() })
}
