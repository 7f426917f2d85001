package virtio_test

import (
	"errors"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// TestPushAll pushes chains together, with lengths in and out of range.
func TestPushAll(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	var chains []*virtio.Chain
	var heads []uint16
	for i := range 3 {
		heads = append(heads, r.ring.Add(r.buf(8*i, i+1, true)))
		chains = append(chains, r.pop(t))
	}
	r.queue.PushAll(nil, nil)
	if r.ring.UsedIdx() != 0 || r.irq.queue.Load() != 0 {
		t.Error("nothing was pushed, and something was seen")
	}
	r.queue.PushAll(chains, []uint32{1, 1, 100})
	for i, n := range []uint32{1, 1, 3} {
		if u, ok := r.ring.Reap(); !ok || u != (virtiotest.Used{ID: uint32(heads[i]), Len: n}) {
			t.Errorf("element %d: %v, %v", i, u, ok)
		}
	}
	if n := r.irq.queue.Load(); n != 1 {
		t.Errorf("%d interrupts for chains that were pushed together", n)
	}
	mustPanic(t, "PushAll of chains that are not in flight", func() { r.queue.PushAll(chains, []uint32{1, 1, 1}) })
}

// TestPushAllIsSeenAtOnce has the second of two chains refused: the first must not be in the ring then.
func TestPushAllIsSeenAtOnce(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	r.ring.Add(r.buf(0, 1, true))
	c := r.pop(t)
	mustPanic(t, "the same chain twice", func() { r.queue.PushAll([]*virtio.Chain{c, c}, []uint32{1, 1}) })
	if r.ring.UsedIdx() != 0 {
		t.Error("one of two chains was seen")
	}
}

// TestPushAllInterrupts asks for an interrupt at each index in and around the ones that are pushed (2.7.7), also where the
// index wraps.
func TestPushAllInterrupts(t *testing.T) {
	for _, start := range []uint16{0, 0xfffd} {
		for event := start - 2; event != start+7; event++ {
			r := newRig(t, 8, allFeatures)
			for range start {
				r.ring.Add(r.buf(0, 1, true))
				r.queue.Push(r.pop(t), 0)
				r.ring.Reap()
			}
			var chains []*virtio.Chain
			for range 5 {
				r.ring.Add(r.buf(0, 1, true))
				chains = append(chains, r.pop(t))
			}
			r.ring.SetUsedEvent(event)
			before := r.irq.queue.Load()
			r.queue.PushAll(chains, make([]uint32, 5))
			if got, want := r.irq.queue.Load() != before, event-start < 5; got != want {
				t.Errorf("elements %d to %d, event at %d: interrupt is %v", start, start+4, event, got)
			}
		}
	}
}

// TestPushSilently asks for an interrupt at each index in and around two pairs of chains that are pushed silently, and one that is not. A driver
// that does not want to hear of them is not interrupted afterwards either.
func TestPushSilently(t *testing.T) {
	for _, end := range []string{"Interrupt", "Push"} {
		for event := range uint16(8) {
			r := newRig(t, 8, allFeatures)
			pop := func() *virtio.Chain {
				r.ring.Add(r.buf(0, 1, true))
				return r.pop(t)
			}
			r.queue.Push(pop(), 0)
			r.ring.Reap()
			before := r.irq.queue.Load()
			for range 2 {
				r.queue.PushSilently([]*virtio.Chain{pop(), pop()}, []uint32{0, 0})
			}
			for i := range 4 {
				if _, ok := r.ring.Reap(); !ok {
					t.Errorf("the driver cannot see element %d", 1+i)
				}
			}
			if r.irq.queue.Load() != before {
				t.Error("a silent push interrupts")
			}
			r.ring.SetUsedEvent(event)
			last := uint16(4)
			if end == "Push" {
				r.queue.Push(pop(), 0)
				last++
			}
			r.queue.Interrupt()
			if got, want := r.irq.queue.Load() != before, event >= 1 && event <= last; got != want {
				t.Errorf("elements 1 to %d and %s, event at %d: interrupt is %v", last, end, event, got)
			}
			before = r.irq.queue.Load()
			if r.queue.Interrupt(); r.irq.queue.Load() != before {
				t.Error("there is an interrupt for nothing")
			}
		}
	}
}

// TestUnpopSeveral gives back all that is held but the first, which is pushed.
func TestUnpopSeveral(t *testing.T) {
	r := newRig(t, 4, allFeatures)
	for i := range 4 {
		r.ring.Add(r.buf(0, i+1, true))
	}
	held := []*virtio.Chain{r.pop(t), r.pop(t), r.pop(t), r.pop(t)}
	r.queue.Push(held[0], 0)
	for i := 3; i > 0; i-- {
		r.queue.Unpop(held[i])
	}
	r.ring.Reap()
	r.ring.Add(r.buf(0, 5, true))
	for want := uint64(2); want <= 5; want++ {
		if c := r.pop(t); c.WritableLen() != want {
			t.Errorf("chain of %d bytes, want %d", c.WritableLen(), want)
		}
	}
	if c, err := r.queue.Pop(); c != nil || errors.Is(err, virtio.ErrBroken) {
		t.Errorf("Pop: %v, %v", c, err)
	}
}

func TestPushAllDoesNotAllocate(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	r.ring.SetDesc(r.ring.Desc, 0, virtiotest.Desc{Addr: r.buffer, Len: 8, Flags: virtiotest.DescWrite})
	chains, written := make([]*virtio.Chain, 4), make([]uint32, 4)
	if n := testing.AllocsPerRun(100, func() {
		for i := range chains {
			r.ring.Publish(0)
			chains[i] = r.pop(t)
		}
		r.queue.PushAll(chains, written)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
