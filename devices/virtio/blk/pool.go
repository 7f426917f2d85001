package blk

import (
	"context"
	"sync/atomic"

	"govmm/devices/virtio"
)

// A pool is the workers of one queue in one run. One of them has the turn: it
// takes requests out of the queue. It tries to serve each of them on the spot,
// which works out for whatever the host has in memory: then no other
// goroutine is woken, and what is in the ring is served in one go. A request that
// has to wait for the disk it serves as well, but first it gives the turn to a worker
// that is idle, or to a new one. So a request is never handed from one
// goroutine to another.
type pool struct {
	run   *run
	queue *virtio.Queue
	ctx   context.Context
	spawn func() // work, allocated once

	turn chan struct{} // holds a token when nobody has the turn; closed at the end
	size atomic.Int64  // workers
	idle atomic.Int64  // workers that want the turn
}

func newPool(ctx context.Context, r *run, q *virtio.Queue) *pool {
	p := &pool{run: r, queue: q, ctx: ctx, turn: make(chan struct{}, 1)}
	p.spawn = p.work
	return p
}

// start starts the first worker.
func (p *pool) start() {
	p.startWorker()
	p.turn <- struct{}{}
}

func (p *pool) startWorker() {
	p.size.Add(1)
	p.run.workers.Add(1)
	go p.spawn()
}

// work serves requests until there are no more.
func (p *pool) work() {
	defer p.run.workers.Done()
	for {
		p.idle.Add(1)
		_, ok := <-p.turn
		p.idle.Add(-1)
		if !ok {
			return
		}
		if r := p.lead(); r.chain != nil {
			p.complete(&r, p.run.device.serve(&r))
		}
		if p.surplus() {
			return
		}
	}
}

// surplus ends a worker whom another queue may need: there is another idle one here,
// and the pool has more than its share.
func (p *pool) surplus() bool {
	if p.idle.Load() == 0 || p.size.Load() <= p.run.share {
		return false
	}
	p.size.Add(-1)
	p.run.spare.Add(1)
	return true
}

// lead serves requests for as long as the caller has the turn. It returns the
// request that made it give the turn away, and that the caller is to serve, or none.
func (p *pool) lead() request {
	d := p.run.device
	for {
		c, err := p.queue.Next(p.ctx)
		if err != nil {
			p.end(err)
			return request{}
		}
		r := d.parse(c, p.run.features)
		if p.run.tracer != nil {
			r.begun = p.run.tracer.Now()
		}
		if err := d.admit(p.ctx, &r); err != nil {
			p.queue.Unpop(c)
			p.end(err)
			return request{}
		}
		used, done := d.try(&r)
		if !done {
			p.release()
			return r
		}
		p.complete(&r, used)
	}
}

// complete hands a request back that was served.
func (p *pool) complete(r *request, used uint32) {
	if p.run.tracer != nil {
		p.run.tracer.Request(r.traced(p.queue.Index()))
	}
	p.queue.Push(r.chain, used)
}

// release gives the turn away.
func (p *pool) release() {
	if p.idle.Load() == 0 && p.hire() {
		p.startWorker()
	}
	p.turn <- struct{}{}
}

// hire takes one of the workers that may still be started.
func (p *pool) hire() bool {
	if p.run.spare.Add(-1) >= 0 {
		return true
	}
	p.run.spare.Add(1)
	return false
}

// end ends the pool, and with it the run. The caller has the turn.
func (p *pool) end(err error) {
	p.run.fail(err) // does nothing if the context has ended, which is the usual reason
	close(p.turn)
}
