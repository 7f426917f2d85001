package usernet

import (
	"context"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"govmm/devices/eventfd"
)

const (
	queueFrames = 4096    // a power of two
	queueLoose  = 4 << 20 // bytes of frames whose sender does not wait for the guest
	// All bytes: a guest may acknowledge what it has not taken, and have the stack send more. Others have tcpMemory under way at most, and
	// minBuffer for each connection.
	queueBytes = tcpMemory + maxTCPFlows*minBuffer
)

// An entry is one frame that waits for the guest: a packet of the stack, or a whole Ethernet frame.
type entry struct {
	packet *stack.PacketBuffer
	frame  []byte
	bytes  int // of packet or frame
	loose  int // of them, those that count for queueLoose
}

func (e *entry) release() {
	if e.packet != nil {
		e.packet.DecRef()
	}
	*e = entry{}
}

// A queue holds the frames for the guest, in order. Any goroutine puts; one at a time takes, also while another waits.
//
// TCP's segments are not loose: they lie in the send buffers of their connections, which are
// bounded and whose memory they share, so that a guest which does not take frames stops the senders.
type queue struct {
	mu      sync.Mutex
	ring    []entry // made at the first frame
	head, n int
	bytes   int
	loose   int
	waiting bool // the taker sleeps, or will
	held    bool // it is not to be woken
	poked   bool // its next wait is to end at once
	closed  bool

	// wake is an event of the kernel's, for the taker is a thread that waits for it (package wait).
	wake  *eventfd.Event
	watch eventfd.Watch // has the end of the context signal wake
}

func (q *queue) init() error {
	var err error
	q.wake, err = eventfd.New()
	return err
}

// put appends e and reports whether there was room. If not, e is the caller's.
func (q *queue) put(e entry) bool {
	q.mu.Lock()
	if q.closed || q.n == queueFrames || e.loose > 0 && q.loose+e.loose > queueLoose || q.bytes+e.bytes > queueBytes {
		q.mu.Unlock()
		return false
	}
	if q.ring == nil {
		q.ring = make([]entry, queueFrames)
	}
	q.ring[(q.head+q.n)%queueFrames] = e
	q.n++
	q.bytes += e.bytes
	q.loose += e.loose
	wake := q.toWake()
	q.mu.Unlock()
	if wake {
		q.signal()
	}
	return true
}

// putFrame has a frame of our own wait for the guest, if there is room.
func (b *Backend) putFrame(frame []byte) {
	b.queue.put(entry{frame: frame, bytes: len(frame), loose: len(frame)})
}

// toWake reports whether the taker has to be woken now, which is then the caller's to do. q.mu is locked.
func (q *queue) toWake() bool {
	wake := q.waiting && !q.held
	q.waiting = q.waiting && q.held
	return wake
}

func (q *queue) signal() {
	_ = q.wake.Signal() // fails when it is closed, and then nobody waits
}

// hold keeps entries from waking the taker until release.
func (q *queue) hold() {
	q.mu.Lock()
	q.held = true
	q.mu.Unlock()
}

// release wakes the taker if there is an entry, or if it has something else to do.
func (q *queue) release(more bool) {
	q.mu.Lock()
	q.held = false
	q.poked = q.poked || more
	wake := (q.n > 0 || q.poked) && q.toWake()
	q.poked = q.poked && !wake
	q.mu.Unlock()
	if wake {
		q.signal()
	}
}

// take removes the first entry.
func (q *queue) take() (entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return entry{}, false
	}
	e := q.ring[q.head]
	q.ring[q.head] = entry{}
	q.head = (q.head + 1) % queueFrames
	q.n--
	q.bytes -= e.bytes
	q.loose -= e.loose
	return e, true
}

// wait returns when there may be an entry, or with ctx.
func (q *queue) wait(ctx context.Context) error {
	q.mu.Lock()
	if q.n > 0 && !q.held || q.poked {
		q.poked = false
		q.mu.Unlock()
		return ctx.Err()
	}
	q.waiting = true
	q.mu.Unlock()
	q.watch.For(ctx, q.wake)
	if err := q.wake.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// close releases what waits. Nothing is taken any more.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	for e, ok := q.take(); ok; e, ok = q.take() {
		e.release()
	}
	_ = q.wake.Close() // fails the second time
}
