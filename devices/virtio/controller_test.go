package virtio_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// echo is a device that copies the readable part of each chain to its
// writable part. run, if set, replaces its Run.
type echo struct {
	sizes    []uint16
	features uint64
	config   []byte
	run      func(ctx context.Context, s *virtio.Session) error
}

func (e *echo) Type() virtio.DeviceType         { return virtio.TypeConsole }
func (e *echo) Features() uint64                { return e.features }
func (e *echo) QueueSizes() []uint16            { return e.sizes }
func (e *echo) ReadConfig(off uint64, p []byte) { virtio.ReadConfig(e.config, off, p) }
func (e *echo) WriteConfig(off uint64, p []byte) {
	if off < uint64(len(e.config)) {
		copy(e.config[off:], p)
	}
}
func (e *echo) Run(ctx context.Context, s *virtio.Session) error {
	if e.run != nil {
		return e.run(ctx, s)
	}
	buf := make([]byte, 64)
	for {
		c, err := s.Queues[0].Next(ctx)
		if err != nil {
			return err
		}
		n, _ := c.Read(buf)
		c.Write(buf[:n])
		s.Queues[0].Push(c, c.Written())
	}
}

func newEcho() *echo {
	return &echo{sizes: []uint16{16, 64}, features: 1 << 5, config: []byte{1, 2, 3, 4}}
}

func TestEchoConformance(t *testing.T) {
	virtiotest.TestDevice(t, func(testing.TB) virtio.Device { return newEcho() }, virtiotest.Options{
		Request: func(mem *virtiotest.Memory, queue int) []virtiotest.Buf {
			if queue != 0 {
				return nil
			}
			return []virtiotest.Buf{{Addr: mem.Alloc(8, 1), Len: 8}, {Addr: mem.Alloc(8, 1), Len: 8, Write: true}}
		},
	})
}

func newController(t *testing.T, d virtio.Device, log *slog.Logger) (*virtio.Controller, *counter, *virtiotest.Memory) {
	t.Helper()
	irq, mem := &counter{}, virtiotest.NewMemory(0, 1<<16)
	c, err := virtio.NewController(virtio.ControllerConfig{Device: d, Memory: mem, Interrupts: irq, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, irq, mem
}

// start takes the device to DRIVER_OK with queue 0 enabled.
func start(c *virtio.Controller, mem *virtiotest.Memory) *virtiotest.Ring {
	c.SetStatus(0)
	c.SetStatus(virtio.StatusAcknowledge | virtio.StatusDriver)
	c.SetDriverFeatures(1, uint32(virtio.FeatureVersion1>>32))
	c.SetStatus(c.Status() | virtio.StatusFeaturesOK)
	r := virtiotest.NewRing(mem, 16, false)
	c.ConfigureQueue(0, virtio.QueueSetup{Size: 16, Desc: r.Desc, Avail: r.Avail, Used: r.Used})
	c.SetQueueReady(0, true)
	c.SetStatus(c.Status() | virtio.StatusDriverOK)
	return r
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestRunThatEndsNeedsReset(t *testing.T) {
	for _, test := range []struct {
		name, want string
		run        func(ctx context.Context, s *virtio.Session) error
	}{
		{"error", "the cable fell out", func(context.Context, *virtio.Session) error { return errors.New("the cable fell out") }},
		{"no error", "stopped by itself", func(context.Context, *virtio.Session) error { return nil }},
		{"somebody else's cancellation", "canceled", func(context.Context, *virtio.Session) error { return context.Canceled }},
		{"chain kept", "1 requests of queue 0 in flight", func(ctx context.Context, s *virtio.Session) error {
			_, err := s.Queues[0].Next(ctx)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			e := newEcho()
			e.run = test.run
			c, irq, mem := newController(t, e, slog.New(slog.NewTextHandler(&out, nil)))
			r := start(c, mem)
			r.Add(virtiotest.Buf{Addr: mem.Alloc(1, 1), Len: 1})
			c.Notify(0)
			eventually(t, "configuration change notification", func() bool { return irq.config.Load() == 1 })
			if s := c.Status(); s&virtio.StatusNeedsReset == 0 {
				t.Errorf("status %#x", s)
			}
			c.Pause()
			c.Resume() // must not start it again
			e.run = nil
			c.SetStatus(0)
			if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), test.want) {
				t.Errorf("log of %d lines: %s", n, out.String())
			}
			r = start(c, mem)
			r.Add(virtiotest.Buf{Addr: mem.Alloc(1, 1), Len: 1})
			c.Notify(0)
			eventually(t, "used buffer after reset", func() bool { return r.UsedIdx() == 1 })
		})
	}
}

func TestConfigChanged(t *testing.T) {
	e := newEcho()
	change := make(chan struct{})
	e.run = func(ctx context.Context, s *virtio.Session) error {
		for {
			select {
			case <-change:
				s.ConfigChanged()
				change <- struct{}{}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	c, irq, mem := newController(t, e, nil)
	start(c, mem)
	before := c.ConfigGeneration()
	change <- struct{}{}
	<-change
	if c.ConfigGeneration() == before || irq.config.Load() != 1 {
		t.Errorf("generation %d, before %d; %d notifications", c.ConfigGeneration(), before, irq.config.Load())
	}
	c.WriteConfig(2, []byte{9})
	p := []byte{7, 7, 7, 7}
	if c.ReadConfig(1, p); !bytes.Equal(p, []byte{2, 9, 4, 0}) {
		t.Errorf("configuration space %x", p)
	}
	new(virtio.Session).ConfigChanged() // without a controller: nothing
}

// TestPauseKeepsTheQueue checks that a session goes on after a pause and that
// the context of the one before is done.
func TestPauseKeepsTheQueue(t *testing.T) {
	sessions := make(chan *virtio.Session, 3)
	e := newEcho()
	e.run = func(ctx context.Context, s *virtio.Session) error {
		sessions <- s
		<-ctx.Done()
		return nil
	}
	c, _, mem := newController(t, e, nil)
	start(c, mem)
	first := <-sessions
	if err := errors.Join(c.Pause(), c.Pause(), c.Resume(), c.Resume()); err != nil {
		t.Fatal(err)
	}
	if <-sessions != first {
		t.Error("another session after a pause")
	}
	start(c, mem)
	if <-sessions == first {
		t.Error("the same session after a reset")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	start(c, mem)
	if len(sessions) != 0 {
		t.Error("a closed device was started")
	}
}

func TestNewControllerRefuses(t *testing.T) {
	mem := virtiotest.NewMemory(0, 1)
	for name, cfg := range map[string]virtio.ControllerConfig{
		"nothing":           {},
		"no memory":         {Device: newEcho(), Interrupts: &counter{}},
		"size 0":            {Device: &echo{sizes: []uint16{0}}, Memory: mem, Interrupts: &counter{}},
		"size 48":           {Device: &echo{sizes: []uint16{16, 48}}, Memory: mem, Interrupts: &counter{}},
		"size 2048":         {Device: &echo{sizes: []uint16{2048}}, Memory: mem, Interrupts: &counter{}},
		"transport feature": {Device: &echo{sizes: []uint16{1}, features: virtio.FeatureVersion1}, Memory: mem, Interrupts: &counter{}},
	} {
		if _, err := virtio.NewController(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestQueuesThatDoNotExist(t *testing.T) {
	c, _, _ := newController(t, newEcho(), nil)
	for _, i := range []uint32{2, 1 << 16, ^uint32(0)} {
		c.ConfigureQueue(i, virtio.QueueSetup{Size: 4})
		c.SetQueueReady(i, true)
		c.Notify(i)
		if c.QueueMax(i) != 0 || c.QueueSetup(i) != (virtio.QueueSetup{}) {
			t.Errorf("queue %d exists", i)
		}
	}
}
