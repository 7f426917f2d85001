package netif

import (
	"context"
	"sync"

	"govmm/devices/virtio"
)

// Run implements virtio.Device. Each queue of a pair in use has a goroutine; the control queue is served by
// the caller's.
func (d *Device) Run(ctx context.Context, s *virtio.Session) error {
	d.begin(s)
	defer d.end()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := &run{device: d, session: s, fail: fail}
	defer r.stop()
	if err := d.afford(ctx, d.current()); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	q := s.Queues[d.controlQueue(s.Features)]
	for {
		c, err := q.Next(ctx)
		if err == nil {
			err = r.control(ctx, q, c)
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
	}
}

// begin makes s the session that settings belong to.
func (d *Device) begin(s *virtio.Session) {
	d.mu.Lock()
	if s != d.session && !s.Restored {
		d.settings = d.defaults(s.Features)
	}
	// What was restored was not negotiated here.
	d.settings.offloads &= guestOffloads(s.Features)
	if s.Features&featureMultiqueue == 0 {
		d.settings.pairs = 1
	}
	changed := d.changed
	d.session, d.running, d.changed = s, true, false
	d.mu.Unlock()
	if changed {
		s.ConfigChanged()
	}
}

// Reset implements virtio.Resetter: drivers read the MAC address before they begin.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings = d.defaults(0)
}

func (d *Device) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = false
}

// current returns the settings.
func (d *Device) current() settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settings
}

// A run is one call of Run. Its methods are for the goroutine that made the call.
type run struct {
	device  *Device
	session *virtio.Session
	fail    context.CancelCauseFunc // ends the run

	cancel context.CancelFunc // nil when the pairs are stopped
	pairs  sync.WaitGroup
}

// start tells the backend what the settings are and serves the pairs in use.
func (r *run) start(ctx context.Context) error {
	d, set := r.device, r.device.current()
	if err := d.configure(set); err != nil {
		return err
	}
	ctx, r.cancel = context.WithCancel(ctx)
	for i := range set.pairs {
		p := d.backend.Pair(i)
		turn := new(sync.Mutex)
		t := newTransmitter(d, i, p, r.session, turn)
		t.tracer = r.session.Tracer
		v := newReceiver(d, i, p, r.session, set.offloads, turn)
		t.answerer, _ = p.(Answerer)
		t.receiver = v
		r.serve(ctx, t.run)
		r.serve(ctx, v.run)
	}
	return nil
}

// An applied is what the backend was told last.
type applied struct {
	pairs    int // 0 before
	offloads Offloads
}

// configure tells the backend what is new in set.
func (d *Device) configure(set settings) error {
	was := d.applied
	d.applied = applied{} // until all is well
	if was.pairs == 0 || was.offloads != set.offloads {
		if err := d.backend.Start(set.offloads); err != nil {
			return err
		}
	}
	if s, ok := d.backend.(PairSelector); ok && was.pairs != set.pairs {
		if err := s.UsePairs(set.pairs); err != nil {
			return err
		}
	}
	d.applied = applied{set.pairs, set.offloads}
	return nil
}

// afford waits until the driver may have the backend told what is new in next.
func (d *Device) afford(ctx context.Context, next settings) error {
	cost := uint64(0)
	if d.applied.offloads != next.offloads {
		cost += changeOffloads
	}
	if d.applied.pairs != next.pairs && d.applied.pairs != 0 {
		cost += changePairs
	}
	// A run that has ended already, as when a driver resets at once, changes nothing.
	if err := ctx.Err(); cost == 0 || err != nil {
		return err
	}
	return d.changes.Wait(ctx, cost)
}

// serve runs f, whose failure ends the run.
func (r *run) serve(ctx context.Context, f func(context.Context) error) {
	r.pairs.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			r.fail(err)
		}
	})
}

// stop returns when no pair is served any more.
func (r *run) stop() {
	if r.cancel != nil {
		r.cancel()
		r.cancel = nil
	}
	r.pairs.Wait()
}
