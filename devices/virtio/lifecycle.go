package virtio

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// A run is one call of Device.Run.
type run struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned and its error was dealt with
}

// activate begins the session that DRIVER_OK asks for. It is called with
// lifecycle held.
func (c *Controller) activate() {
	if c.closed {
		return
	}
	c.session = c.newSession()
	c.start()
}

// newSession makes a session of what the driver chose. It returns nil, and the device needs a
// reset, if that is wrong.
func (c *Controller) newSession() *Session {
	c.mu.Lock()
	features := c.accepted
	setups := append([]QueueSetup(nil), c.queues...)
	c.mu.Unlock()

	s := &Session{Features: features, Memory: c.memory, Tracer: c.tracer, configChanged: c.configChanged}
	for i, setup := range setups {
		q := c.disabledQueue(i)
		if setup.Ready {
			var err error
			q, err = NewQueue(QueueConfig{
				Index:      i,
				MaxSize:    c.maxima[i],
				Size:       setup.Size,
				DescAddr:   setup.Desc,
				AvailAddr:  setup.Avail,
				UsedAddr:   setup.Used,
				Features:   features,
				Memory:     c.memory,
				Event:      c.events[i],
				Interrupts: c.interrupts,
				Tracer:     c.tracer,
			})
			if err != nil {
				c.fail(err)
				return nil
			}
		}
		s.Queues = append(s.Queues, q)
	}
	return s
}

// disabledQueue returns queue i as a device sees it that the driver did not
// enable.
func (c *Controller) disabledQueue(i int) *Queue {
	return &Queue{index: i, event: c.events[i], interrupts: c.interrupts}
}

// start runs the device if there is a session to run and no reason not to. It
// is called with lifecycle held.
func (c *Controller) start() {
	if c.session == nil || c.run != nil || c.paused || c.closed || c.Status()&StatusNeedsReset != 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{cancel: cancel, done: make(chan struct{})}
	c.run = r
	session := c.session
	go func() {
		defer close(r.done)
		if err := c.serve(ctx, session); err != nil {
			c.fail(err)
		}
	}()
}

// stop cancels Device.Run and waits for it. It is called with lifecycle held.
func (c *Controller) stop() {
	if c.run == nil {
		return
	}
	c.run.cancel()
	<-c.run.done
	c.run = nil
}

// serve calls Device.Run and turns every end but that by cancellation into an
// error.
func (c *Controller) serve(ctx context.Context, s *Session) error {
	err := c.device.Run(ctx, s)
	for _, q := range s.Queues {
		if n := q.outstanding(); n != 0 {
			return fmt.Errorf("device stopped with %d requests of queue %d in flight", n, q.index)
		}
	}
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())):
		return nil
	case err == nil:
		return errors.New("device stopped by itself")
	}
	return err
}

// Pause stops Device.Run and waits until it has returned. Registers go on
// working; a session that the driver begins meanwhile starts at Resume. It
// returns os.ErrClosed after Close.
func (c *Controller) Pause() error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	c.paused = true
	c.stop()
	return nil
}

// Resume undoes Pause: Device.Run goes on with the same session. It returns
// os.ErrClosed after Close.
func (c *Controller) Resume() error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	c.paused = false
	c.start()
	return nil
}

// Close stops the device for good, waits until Device.Run has returned and
// closes the doorbells' events. Registers go on answering. A second Close
// returns os.ErrClosed.
func (c *Controller) Close() error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	c.closed = true
	c.stop()
	return c.closeEvents()
}

func (c *Controller) closeEvents() error {
	var errs []error
	for _, e := range c.events {
		errs = append(errs, e.Close())
	}
	return errors.Join(errs...)
}
