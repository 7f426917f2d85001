package virtio_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// TestDoorbellIsTraced holds that a tracer hears of the driver, and not of what else wakes a queue's goroutine.
func TestDoorbellIsTraced(t *testing.T) {
	r := newRig(t, 8, 0)
	tracer := new(virtiotest.Tracer)
	q, err := virtio.NewQueue(virtio.QueueConfig{
		Index: 3, MaxSize: 8, Size: 8, DescAddr: r.ring.Desc, AvailAddr: r.ring.Avail, UsedAddr: r.ring.Used,
		Memory: r.mem, Event: r.event, Interrupts: &r.irq, Tracer: tracer,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := q.Next(ctx)
		done <- err
	}()
	if err := r.event.Signal(); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(20 * time.Second); len(tracer.Doorbells()) == 0 && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := tracer.Doorbells(); !slices.Equal(got, []int{3}) {
		t.Errorf("doorbells of %v", got)
	}
}
