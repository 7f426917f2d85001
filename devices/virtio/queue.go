package virtio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"govmm/devices/eventfd"
)

// ErrBroken is what every error about a ring that breaks the rules of 2.7
// wraps. Such a queue stays broken until the driver resets the device.
var ErrBroken = errors.New("broken virtqueue")

// A QueueConfig describes a Queue. Controllers make queues; tests and
// benchmarks of devices may, too.
type QueueConfig struct {
	Index   int    // passed to Interrupts and named in errors
	MaxSize uint16 // of the queue as the device offers it, at most MaxQueueSize

	// Size is what the driver chose. Size and the three addresses are the
	// guest's: NewQueue checks them.
	Size                          uint32
	DescAddr, AvailAddr, UsedAddr uint64

	Features   uint64 // negotiated
	Memory     Memory
	Event      *eventfd.Event // signalled by the queue's doorbell
	Interrupts Interrupter
	Tracer     Tracer // nil if there is none
}

// A Queue is the device's side of one split virtqueue (2.7).
//
// Next, Pop, More and Unpop are for one goroutine at a time. Push, PushAll, PushSilently and Interrupt are safe for
// concurrent use, also with those, and in any order: requests may be served at
// the same time and completed as they come.
type Queue struct {
	index      int
	enabled    bool
	limit      int // of descriptors in a chain
	eventIdx   bool
	indirect   bool
	memory     Memory
	event      *eventfd.Event
	interrupts Interrupter
	tracer     Tracer
	ring       ring

	// For the goroutine that takes chains.
	nextAvail  uint16 // index of the next chain to take
	knownAvail uint16 // the driver's index when it was last looked at
	quiet      bool   // the driver was told not to notify
	broken     error
	watch      eventfd.Watch // of the session that may wait for event; the event outlives all of them

	mu       sync.Mutex
	nextUsed uint16
	untold   uint16 // the first element that the driver has not been told of by tell
	flags    uint16 // of the used ring
	inFlight int
	free     []*Chain
}

// NewQueue returns an enabled queue, or an error that says what is wrong with
// the driver's choice of size and addresses.
func NewQueue(c QueueConfig) (*Queue, error) {
	r, err := newRing(c.Memory, c.Size, uint32(c.MaxSize), c.DescAddr, c.AvailAddr, c.UsedAddr)
	if err != nil {
		return nil, fmt.Errorf("queue %d: %w", c.Index, err)
	}
	return &Queue{
		index:      c.Index,
		enabled:    true,
		limit:      int(c.MaxSize),
		eventIdx:   c.Features&FeatureEventIdx != 0,
		indirect:   c.Features&FeatureIndirectDesc != 0,
		memory:     c.Memory,
		event:      c.Event,
		interrupts: c.Interrupts,
		tracer:     c.Tracer,
		ring:       r,
	}, nil
}

// Enabled reports whether the driver enabled the queue. One that it did not
// enable stays empty.
func (q *Queue) Enabled() bool { return q.enabled }

// Index returns the queue's number in its device.
func (q *Queue) Index() int { return q.index }

// Size returns the size that the driver chose, 0 if the queue is not enabled.
func (q *Queue) Size() int { return int(q.ring.size) }

// Next returns the next chain, and waits for it if there is none. While it
// does not wait, the driver is told that it need not notify. It returns
// ctx.Err() once ctx is done, and an error that wraps [ErrBroken] if the ring
// is broken. Next does not allocate as long as it is called with contexts of
// the same Done channel.
func (q *Queue) Next(ctx context.Context) (*Chain, error) {
	q.watch.For(ctx, q.event)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := q.Pop()
		if c != nil || err != nil {
			return c, err
		}
		// The driver may have published between the look at the ring and
		// its finding notifications off, so look again when they are on.
		q.setQuiet(false)
		if more, err := q.look(); more || err != nil {
			q.setQuiet(true)
			continue
		}
		if err := q.event.Wait(); err != nil {
			return nil, fmt.Errorf("queue %d: waiting for the driver: %w", q.index, err)
		}
		if q.tracer != nil && ctx.Err() == nil {
			q.tracer.Doorbell(q.index)
		}
		q.setQuiet(true)
	}
}

// Pop returns the next chain, or nil if there is none. An error wraps
// [ErrBroken]; from then on Pop returns it always.
func (q *Queue) Pop() (*Chain, error) {
	if more, err := q.look(); !more {
		return nil, err
	}
	head := q.ring.head(q.nextAvail)
	c := q.take()
	if c == nil {
		return nil, q.breakf("more than %d chains available at once", q.ring.size)
	}
	c.head, c.index = head, q.nextAvail
	if err := q.gather(c); err != nil {
		q.putBack(c)
		return nil, err
	}
	q.nextAvail++
	return c, nil
}

// More reports whether Pop would return a chain. It is for the goroutine that takes chains.
func (q *Queue) More() bool {
	more, _ := q.look() // Pop returns the error
	return more
}

// look reports whether a chain is available. It reads the driver's index only
// when all chains up to the last one seen are taken, so a driver that moves
// the index to and fro makes no goroutine look in vain more than once.
func (q *Queue) look() (bool, error) {
	if q.broken != nil || !q.enabled {
		return false, q.broken
	}
	if q.nextAvail == q.knownAvail {
		idx := q.ring.availIdx()
		if n := idx - q.nextAvail; uint32(n) > q.ring.size {
			return false, q.breakf("available index jumped by %d from %d", n, q.nextAvail)
		}
		q.knownAvail = idx
	}
	return q.nextAvail != q.knownAvail, nil
}

// Unpop gives back the chain that Pop or Next returned last, unused: the next
// call returns it again. A device that holds a chain until it has something
// to put into it does so when Device.Run ends; of several chains, the last one
// first. Unpop panics if c is another chain.
func (q *Queue) Unpop(c *Chain) {
	if c.queue != q || !c.inFlight || c.index != q.nextAvail-1 {
		panic("virtio: Unpop of a chain that was not the last one popped")
	}
	q.putBack(c)
	q.nextAvail--
}

// Push hands c back to the driver as used, with n as the number of bytes that
// were written to the beginning of its writable part (2.7.8), and interrupts
// the driver if it wants that. It panics if c is not in flight.
func (q *Queue) Push(c *Chain, n uint32) {
	q.mu.Lock()
	q.use(c, n)
	q.tell()
}

// PushAll pushes chains at once, in their order, with written[i] as Push's n for
// chains[i]. The driver sees all of them or none, as it must where several
// buffers are one message, and is interrupted at most once. PushAll keeps
// neither slice.
func (q *Queue) PushAll(chains []*Chain, written []uint32) {
	if len(chains) == 0 {
		return
	}
	q.mu.Lock()
	q.useAll(chains, written)
	q.tell()
}

// PushSilently is PushAll without the interrupt, for a device that has more to push at once. Before it waits, and before
// Device.Run returns, it calls [Queue.Interrupt]. Push and PushAll interrupt for these chains as well. A driver that polls the ring sees the chains before.
func (q *Queue) PushSilently(chains []*Chain, written []uint32) {
	if len(chains) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.useAll(chains, written)
	q.ring.setUsed(q.flags, q.nextUsed)
}

// Interrupt interrupts the driver if it wants to hear of one of the chains that were pushed silently.
func (q *Queue) Interrupt() {
	q.mu.Lock()
	if q.untold == q.nextUsed {
		q.mu.Unlock()
		return
	}
	q.tell()
}

// useAll is use for chains, in their order. It is called with mu held.
func (q *Queue) useAll(chains []*Chain, written []uint32) {
	for i, c := range chains {
		q.use(c, written[i])
	}
}

// use puts c into the used ring, where the driver does not see it before
// setUsed. It is called with mu held.
func (q *Queue) use(c *Chain, n uint32) {
	head, n := c.head, uint32(min(uint64(n), c.capacity))
	// The chain counts as returned before the driver can see that it is, as
	// the driver may make it available again at once.
	q.release(c)
	q.ring.putUsed(q.nextUsed, head, n)
	q.nextUsed++
}

// tell shows the driver all elements, and interrupts it if it wants to hear of one of those that it was not
// told of. It is called with mu held, and unlocks it.
func (q *Queue) tell() {
	q.ring.setUsed(q.flags, q.nextUsed)
	wanted := q.interruptWanted()
	q.untold = q.nextUsed
	q.mu.Unlock()
	if wanted {
		q.interrupts.Queue(q.index)
	}
}

// interruptWanted reports whether the driver wants to hear of one of the elements
// that it was not told of (2.7.7). It is called with mu held, after setUsed.
func (q *Queue) interruptWanted() bool {
	if q.eventIdx {
		return q.ring.usedEvent()-q.untold < q.nextUsed-q.untold
	}
	return q.ring.availFlags()&availNoInterrupt == 0
}

// setQuiet tells the driver whether it may omit notifications (2.7.10). With
// VIRTIO_F_EVENT_IDX there is nothing to do to turn them off: avail_event
// stays behind as chains are taken.
func (q *Queue) setQuiet(quiet bool) {
	if !q.enabled {
		return
	}
	if q.eventIdx {
		if !quiet {
			q.ring.setAvailEvent(q.nextAvail)
		}
		return
	}
	if quiet == q.quiet {
		return
	}
	q.quiet = quiet
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flags = 0; quiet {
		q.flags = usedNoNotify
	}
	q.ring.setUsed(q.flags, q.nextUsed)
}

// take returns an empty chain and counts it as in flight, or returns nil if as
// many chains are in flight as the queue has descriptors: a driver that
// follows the rules has none left.
func (q *Queue) take() *Chain {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.inFlight >= int(q.ring.size) {
		return nil
	}
	q.inFlight++
	if n := len(q.free); n > 0 {
		c := q.free[n-1]
		q.free = q.free[:n-1]
		c.inFlight = true
		return c
	}
	return &Chain{queue: q, inFlight: true}
}

// putBack returns c without using it.
func (q *Queue) putBack(c *Chain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(c)
}

// release takes c out of flight and keeps it for the next Pop. It is called
// with mu held.
func (q *Queue) release(c *Chain) {
	if c.queue != q || !c.inFlight {
		panic("virtio: chain is not in flight in this queue")
	}
	c.inFlight = false
	c.readable, c.writable = nil, nil
	q.inFlight--
	q.free = append(q.free, c)
}

// outstanding returns the number of chains in flight.
func (q *Queue) outstanding() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inFlight
}

// gather collects the segments of the chain that starts at c.head.
func (q *Queue) gather(c *Chain) error {
	c.segments, c.capacity, c.written = c.segments[:0], 0, 0
	table, entries, i := q.ring.desc, q.ring.size, uint32(c.head)
	readable, inIndirect := 0, false
	var total uint64
	for count := 0; ; {
		if i >= entries {
			return q.breakf("descriptor index %d in a table of %d", i, entries)
		}
		d := readDescriptor(table, i)
		if d.flags&descIndirect != 0 {
			if inIndirect {
				return q.breakf("indirect descriptor inside an indirect table")
			}
			var err error
			if table, entries, err = q.indirectTable(d); err != nil {
				return err
			}
			inIndirect, i = true, 0
			continue
		}
		// Both limits end loops. The specification allows a chain as long as
		// the queue, wherever its descriptors are (2.7.5.3.1); limit is the
		// size before the driver reduced it.
		if count++; count > q.limit || !inIndirect && count > int(q.ring.size) {
			return q.breakf("chain at %d is longer than the queue", c.head)
		}
		if total += uint64(d.len); total > math.MaxUint32 {
			return q.breakf("chain at %d exceeds 4 GiB", c.head)
		}
		if err := q.addSegment(c, d, &readable); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			break
		}
		i = uint32(d.next)
	}
	c.readable, c.writable = c.segments[:readable:readable], c.segments[readable:]
	return nil
}

// addSegment adds the window that d describes. Segments of length 0, which the
// specification does not forbid, are left out.
func (q *Queue) addSegment(c *Chain, d descriptor, readable *int) error {
	var s []byte
	var err error
	switch write := d.flags&descWrite != 0; {
	case !write && len(c.segments) > *readable:
		return q.breakf("chain at %d has a readable descriptor after a writable one", c.head)
	case d.len == 0:
		return nil
	case write:
		s, err = q.memory.WriteSlice(d.addr, uint64(d.len))
		c.capacity += uint64(d.len)
	default:
		s, err = q.memory.ReadSlice(d.addr, uint64(d.len))
		*readable++
	}
	if err != nil {
		return q.breakf("chain at %d: %v", c.head, err)
	}
	c.segments = append(c.segments, s)
	return nil
}

// indirectTable returns the table that d refers to and the number of its
// entries (2.7.5.3). The write flag of d means nothing.
func (q *Queue) indirectTable(d descriptor) ([]byte, uint32, error) {
	switch {
	case !q.indirect:
		return nil, 0, q.breakf("indirect descriptor was not negotiated")
	case d.flags&descNext != 0:
		return nil, 0, q.breakf("indirect descriptor with a next one")
	case d.len == 0 || d.len%descSize != 0:
		return nil, 0, q.breakf("indirect table of %d bytes", d.len)
	}
	table, err := q.memory.ReadSlice(d.addr, uint64(d.len))
	if err != nil {
		return nil, 0, q.breakf("indirect table: %v", err)
	}
	return table, d.len / descSize, nil
}

// breakf marks the queue as broken.
func (q *Queue) breakf(format string, args ...any) error {
	q.broken = fmt.Errorf("%w: queue %d: %s", ErrBroken, q.index, fmt.Sprintf(format, args...))
	return q.broken
}
