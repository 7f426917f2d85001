package balloon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"govmm/devices/virtio"
)

// Run implements virtio.Device. Each queue that the driver uses has a goroutine, which sleeps until the guest
// or the host wants something of it.
func (d *Device) Run(ctx context.Context, s *virtio.Session) error {
	if d.memory == nil {
		var ok bool
		if d.discard, ok = s.Memory.(Discarder); !ok {
			return fmt.Errorf("virtio balloon: %T cannot give memory back", s.Memory)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.stats.begin(s != d.session, s.Features&featureStats != 0)
	defer d.stats.end()
	d.session = s

	var queues sync.WaitGroup
	serve := func(i int, f func(context.Context, *virtio.Queue) error) {
		q := s.Queues[i]
		if !q.Enabled() {
			return
		}
		queues.Go(func() {
			// The first error ends them all.
			cancel(f(ctx, q))
		})
	}
	serve(inflateQueue, func(ctx context.Context, q *virtio.Queue) error { return d.inflate(ctx, q, s.Memory) })
	serve(deflateQueue, d.deflate)
	others := statsQueue
	if s.Features&featureStats != 0 {
		serve(others, d.serveStats)
		others++
	}
	for i := others; s.Features&featureReporting != 0 && i < numQueues; i++ {
		serve(i, d.report)
	}
	d.announce(ctx, s)
	queues.Wait()
	return context.Cause(ctx)
}

// announce tells the driver of each new target until ctx ends.
func (d *Device) announce(ctx context.Context, s *virtio.Session) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.target:
			s.ConfigChanged()
		}
	}
}

// deflate acknowledges that the guest takes pages back. They need nothing done to them.
func (d *Device) deflate(ctx context.Context, q *virtio.Queue) error {
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		q.Push(c, 0)
	}
}

// report discards what the driver reports as free (5.5.6.7).
func (d *Device) report(ctx context.Context, q *virtio.Queue) error {
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		d.reported(c)
		q.Push(c, 0) // nothing was written, as Linux expects
	}
}

// reported gives back what a chain names: only the part that the device may write, for a driver that makes pages readable cannot mean them to change.
func (d *Device) reported(c *virtio.Chain) {
	for _, window := range c.Writable() {
		d.giveBack(window)
	}
}

// giveBack gives window back to the host.
func (d *Device) giveBack(window []byte) {
	if err := d.discard.Discard(window); err != nil {
		if n, ok := d.failed.Allow(time.Now()); ok {
			d.log.Error("virtio balloon: memory was not given back", "err", err, "suppressed", n)
		}
	}
}
