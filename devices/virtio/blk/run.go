package blk

import (
	"context"
	"sync"
	"sync/atomic"

	"govmm/devices/virtio"
)

// Run implements virtio.Device. Requests are served concurrently and complete
// in any order. On cancellation it waits for those that the host is working
// on.
func (d *Device) Run(ctx context.Context, s *virtio.Session) error {
	p := &pool{device: d, session: s}
	p.spawned.Store(1)
	p.work(ctx)
	p.workers.Wait()
	return p.err
}

// A pool is the workers of one Run. One of them waits for the next request;
// it serves that request itself, and whoever is idle takes its place. A
// request is thus never handed from one goroutine to another. A worker is
// started when a request leaves nobody to wait for the next one.
type pool struct {
	device  *Device
	session *virtio.Session
	workers sync.WaitGroup
	idle    atomic.Int32 // workers that want turn
	spawned atomic.Int32

	// turn is held by the worker that waits in Next. It is a baton rather
	// than a lock: it may be held for as long as the guest is idle. It guards:
	turn sync.Mutex
	err  error // of Next: the end for all workers
}

// work serves requests until there are no more.
func (p *pool) work(ctx context.Context) {
	q := p.session.Queues[0]
	for {
		c := p.next(ctx, q)
		if c == nil {
			return
		}
		q.Push(c, p.device.serve(c, p.session.Features))
	}
}

// next returns the next request, or nil when there will be no more.
func (p *pool) next(ctx context.Context, q *virtio.Queue) *virtio.Chain {
	p.idle.Add(1)
	p.turn.Lock()
	defer p.turn.Unlock()
	p.idle.Add(-1)
	if p.err != nil {
		return nil
	}
	c, err := q.Next(ctx)
	if err != nil {
		p.err = err
		return nil
	}
	if p.idle.Load() == 0 && int(p.spawned.Load()) < p.device.workers {
		p.spawned.Add(1)
		p.workers.Go(func() { p.work(ctx) })
	}
	return c
}
