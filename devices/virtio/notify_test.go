package virtio_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"govmm/devices/virtio"
)

func TestInterruptSuppression(t *testing.T) {
	push := func(t *testing.T, r *rig) bool {
		before := r.irq.queue.Load()
		r.ring.Add(r.buf(0, 1, true))
		r.queue.Push(r.pop(t), 1)
		return r.irq.queue.Load() != before
	}
	t.Run("flag", func(t *testing.T) {
		r := newRig(t, 4, virtio.FeatureVersion1)
		r.ring.SetUsedEvent(3) // means nothing here
		for i, want := range []bool{true, false, true} {
			r.ring.SetNoInterrupt(!want)
			if push(t, r) != want {
				t.Errorf("push %d: interrupt is %v", i, !want)
			}
			r.ring.Reap()
		}
	})
	t.Run("event index", func(t *testing.T) {
		r := newRig(t, 4, allFeatures)
		r.ring.SetNoInterrupt(true) // means nothing here
		r.ring.SetUsedEvent(2)
		for i, want := range []bool{false, false, true, false} {
			if push(t, r) != want {
				t.Errorf("push %d: interrupt is %v", i, !want)
			}
		}
	})
}

// TestAvailEventLeavesItsNeighbourAlone checks the two bytes that follow the
// used ring in the same word, which are the driver's.
func TestAvailEventLeavesItsNeighbourAlone(t *testing.T) {
	r := newRig(t, 4, allFeatures)
	neighbour := r.mem.Bytes(r.ring.Used+6+8*4, 2)
	copy(neighbour, "\xa5\x5a")
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 9 {
		r.ring.Add(r.buf(0, 1, true))
		c, err := r.queue.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r.queue.Push(c, 0)
		r.ring.Reap()
		if i == 8 {
			break
		}
	}
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := r.queue.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	if r.ring.AvailEvent() != 9 || string(neighbour) != "\xa5\x5a" {
		t.Errorf("avail_event %d, neighbour %x", r.ring.AvailEvent(), neighbour)
	}
}

// TestNextUnderLoad has a driver that notifies and waits for interrupts only
// when it must, against a device that completes from several goroutines in
// any order: a notification that is lost in either direction hangs it.
func TestNextUnderLoad(t *testing.T) {
	for _, features := range []uint64{virtio.FeatureVersion1, allFeatures} {
		for _, workers := range []int{1, 3} {
			r := newRig(t, 8, features)
			ctx, cancel := context.WithCancel(t.Context())
			chains := make(chan *virtio.Chain)
			var wg sync.WaitGroup
			wg.Go(func() {
				defer close(chains)
				for {
					c, err := r.queue.Next(ctx)
					if err != nil {
						return
					}
					chains <- c
				}
			})
			for range workers {
				wg.Go(func() {
					for c := range chains {
						var p [2]byte
						c.Read(p[:])
						c.Write(p[:])
						r.queue.Push(c, c.Written())
					}
				})
			}
			const total = 2000
			deadline := time.Now().Add(30 * time.Second)
			slots, slotOf := []int{0, 16, 32, 48}, make(map[uint32]int)
			for sent, done := 0, 0; done < total; {
				for ; len(slots) > 0 && sent < total; sent++ {
					slot := slots[0]
					slots = slots[1:]
					slotOf[uint32(r.ring.Add(r.buf(slot, 2, false), r.buf(slot+8, 2, true)))] = slot
				}
				if r.ring.NeedsKick() {
					r.event.Signal()
				}
				for {
					u, ok := r.ring.Reap()
					if !ok {
						break
					}
					if u.Len != 2 {
						t.Fatalf("used %v", u)
					}
					slots = append(slots, slotOf[u.ID])
					done++
				}
				if time.Now().After(deadline) {
					t.Fatalf("features %#x: %d of %d done, %d sent", features, done, total, sent)
				}
			}
			cancel()
			wg.Wait()
		}
	}
}

// TestNextTurnsNotificationsOff looks at the used ring's flag after Next had to
// wait, and while it waits. Whether it had to is up to the scheduler, hence the
// repetition.
func TestNextTurnsNotificationsOff(t *testing.T) {
	r := newRig(t, 8, virtio.FeatureVersion1)
	got := make(chan *virtio.Chain)
	eventually(t, "no notifications wanted after Next", func() bool {
		go func() {
			c, _ := r.queue.Next(t.Context())
			got <- c
		}()
		time.Sleep(time.Millisecond)
		r.ring.Add(r.buf(0, 1, true))
		r.event.Signal()
		c := <-got
		quiet := r.ring.NoNotify()
		r.queue.Push(c, 0)
		r.ring.Reap()
		return quiet
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		r.queue.Next(ctx)
		close(got)
	}()
	eventually(t, "notifications wanted while Next waits", func() bool { return !r.ring.NoNotify() })
	cancel()
	<-got
}
