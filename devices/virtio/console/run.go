package console

import (
	"context"
	"sync"
	"time"

	"govmm/devices/virtio"
)

// Run implements virtio.Device. Output, input, size and the messages of either side have a goroutine each, which sleeps
// until there is something to do.
func (d *Device) Run(ctx context.Context, s *virtio.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.input.setOpen(d.control.begin(s))
	multiport := s.Features&featureMultiport != 0
	var queues sync.WaitGroup
	// The first error ends them all.
	queues.Go(func() { cancel(d.receive(ctx, s.Queues[receiveQueue])) })
	queues.Go(func() { cancel(d.transmit(ctx, s.Queues[transmitQueue])) })
	queues.Go(func() { cancel(d.hear(ctx, s.Queues[controlTransmitQueue], multiport)) })
	if multiport {
		queues.Go(func() { cancel(d.tell(ctx, s.Queues[controlReceiveQueue])) })
	}
	d.announce(ctx, s)
	queues.Wait()
	return context.Cause(ctx)
}

// announce tells the driver of each new size until ctx ends. With VIRTIO_CONSOLE_F_MULTIPORT Linux looks only at
// messages, though the configuration space holds the size of port 0 still (5.3.6).
func (d *Device) announce(ctx context.Context, s *virtio.Session) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.resized:
			d.control.resized()
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

// receive fills the guest's buffers with input. It looks for a buffer only when there is input to put into it and the
// driver takes it.
func (d *Device) receive(ctx context.Context, q *virtio.Queue) error {
	for {
		for !d.input.ready() {
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
			q.Unpop(c) // Receive has given up meanwhile, or the driver has closed the port
			continue
		}
		q.Push(c, c.Written())
	}
}

// hear takes the driver's messages. A driver without VIRTIO_CONSOLE_F_MULTIPORT has none to send; what it puts into the
// queue nevertheless is used and means nothing.
func (d *Device) hear(ctx context.Context, q *virtio.Queue, multiport bool) error {
	var p [controlSize]byte
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		if multiport {
			n, _ := c.Read(p[:]) // the error is that there is nothing
			d.obey(p[:n])
		}
		q.Push(c, 0)
	}
}

// obey does what a message of the driver says. It is done when the driver gets its buffer back.
func (d *Device) obey(p []byte) {
	m, err := parseControl(p)
	if err == nil {
		var open bool
		open, err = d.control.heard(m)
		d.input.setOpen(open)
	}
	if err != nil {
		d.warn(err.Error())
	}
}

// tell sends the driver the messages that wait for it. A buffer that is too small for the first of them goes back
// empty, and the message waits for the next.
func (d *Device) tell(ctx context.Context, q *virtio.Queue) error {
	var p [controlSize + resizeSize]byte
	for {
		for !d.control.waiting() {
			select {
			case <-d.control.wake:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		switch n, fits := d.nextMessage(p[:], c.WritableLen()); {
		case n == 0:
			q.Unpop(c) // the driver has begun anew meanwhile
		case !fits:
			d.warn("a buffer is too small for a control message")
			q.Push(c, 0)
		default:
			_, _ = c.Write(p[:n]) // there is room
			q.Push(c, uint32(n))
		}
	}
}

// warn logs what the driver does wrong with the control queues.
func (d *Device) warn(what string) {
	if n, ok := d.strange.Allow(time.Now()); ok {
		d.log.Warn("virtio console: "+what, "suppressed", n)
	}
}
