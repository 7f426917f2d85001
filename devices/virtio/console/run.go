package console

import (
	"context"
	"sync"

	"govmm/devices/virtio"
)

// Run implements virtio.Device. Output, input and size have a goroutine each, which sleeps until there is something
// to do.
func (d *Device) Run(ctx context.Context, s *virtio.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var queues sync.WaitGroup
	// The first error ends them all.
	queues.Go(func() { cancel(d.receive(ctx, s.Queues[receiveQueue])) })
	queues.Go(func() { cancel(d.transmit(ctx, s.Queues[transmitQueue])) })
	d.announce(ctx, s)
	queues.Wait()
	return context.Cause(ctx)
}

// announce tells the driver of each new size until ctx ends.
func (d *Device) announce(ctx context.Context, s *virtio.Session) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.resized:
			s.ConfigChanged()
		}
	}
}

// transmit prints what the guest sends.
func (d *Device) transmit(ctx context.Context, q *virtio.Queue) error {
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		d.print(c.Readable())
		q.Push(c, 0)
	}
}

// receive fills the guest's buffers with input. It looks for a buffer only when there is input to put into it.
func (d *Device) receive(ctx context.Context, q *virtio.Queue) error {
	for {
		for !d.input.waiting() {
			select {
			case <-d.input.fed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		if !d.input.fill(c) {
			q.Unpop(c) // Receive has given up meanwhile
			continue
		}
		q.Push(c, c.Written())
	}
}
