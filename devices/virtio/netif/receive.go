package netif

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"govmm/devices/virtio"
)

// Offsets in struct virtio_net_hdr (5.1.6).
const (
	headerFlags      = 0
	headerNumBuffers = 10
)

// maxUntold is how many bytes of frames the driver may not have been told of: some 100 us of copying.
const maxUntold = 1 << 20

// vlanTag is what a frame may be longer than its MTU and an Ethernet header.
const vlanTag = 4

// A receiver takes frames from the backend to a receive queue (5.1.6.3, 5.1.6.4).
//
// How long a frame is shows only when it is received. So the receiver holds buffers for the largest frame, receives
// into all of them, pushes those that the frame has filled, and keeps the others for the next.
type receiver struct {
	device   *Device
	index    int
	pair     Pair
	queue    *virtio.Queue
	tracer   virtio.Tracer // nil if there is none
	turn     *sync.Mutex   // the transmitter's
	merge    bool          // VIRTIO_NET_F_MRG_RXBUF
	checksum bool          // VIRTIO_NET_F_GUEST_CSUM
	need     int           // the length of the largest frame with its header

	// mu is held by who receives: the receiver's own goroutine, but while it waits for a frame, or the transmitter (answer).
	mu sync.Mutex

	held    held
	written []uint32 // for PushSilently
	untold  int      // bytes in frames that the driver has not been told of
	frames  int      // their number
	waited  bool     // the next frame is the first after a wait
	streams bool     // a large frame has come
	yields  bool     // and the thread gives way
	spare   [][]byte // one segment for a frame that has no room yet; made when first needed
}

func newReceiver(d *Device, index int, p Pair, s *virtio.Session, offloads Offloads, turn *sync.Mutex) *receiver {
	r := &receiver{
		device:   d,
		index:    index,
		pair:     p,
		queue:    s.Queues[receiveQueue(index)],
		tracer:   s.Tracer,
		turn:     turn,
		merge:    s.Features&featureMergeable != 0,
		checksum: s.Features&featureGuestChecksum != 0,
		need:     HeaderSize + MaxFrame,
		written:  make([]uint32, 0, d.queueSize),
	}
	if offloads&(TSO4|TSO6) == 0 && d.info.MTU != 0 {
		r.need = HeaderSize + ethernetHeader + vlanTag + int(d.info.MTU)
	}
	r.held.init(int(d.queueSize))
	return r
}

// run receives until ctx ends. It then gives back what it holds, and keeps mu, for nobody may receive any more.
func (r *receiver) run(ctx context.Context) error {
	r.mu.Lock()
	defer r.held.unpop(r.queue)
	defer r.tell()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.gather(ctx); err != nil {
			return err
		}
		if err := r.receive(ctx); err != nil {
			return err
		}
		if r.streams && !r.yields {
			// Until then, the guest only asks and answers, and the thread is one that is quick.
			r.yields = true
			giveWay()
		}
	}
}

// noFrame waits after Receive has failed with err.
func (r *receiver) noFrame(ctx context.Context, err error) error {
	r.tell()
	if errors.Is(err, ErrNoFrame) {
		r.mu.Unlock()
		err = r.pair.Wait(ctx)
		r.mu.Lock()
		r.waited = true
		r.awaitTurn()
	}
	if err != nil && ctx.Err() == nil {
		// The guest cannot help it, and to try again would be to try without end.
		r.device.complain(&r.device.deaf, "nothing is received any more", r.index, err)
		<-ctx.Done()
	}
	return ctx.Err()
}

// awaitTurn waits for the end of the transmitter's burst, if there is one. What the guest sends to this host is answered at once: frame by
// frame, the answers would interrupt the guest for each, and the transmitter with it where processors are short. So those to a burst go
// together. What comes next does not wait again before the network was empty, so both directions go on when both are busy.
func (r *receiver) awaitTurn() {
	r.turn.Lock()
	defer r.turn.Unlock()
}

// gather holds buffers until they have room for the largest frame, or there are no more. It waits for the first
// one only.
func (r *receiver) gather(ctx context.Context) error {
	if err := r.fill(); err != nil || len(r.held.chains) > 0 {
		return err
	}
	if err := r.holdNext(ctx); err != nil {
		return err
	}
	return r.fill()
}

// holdNext waits for a buffer and holds it. The driver hears first of what came before.
func (r *receiver) holdNext(ctx context.Context) error {
	r.tell()
	c, err := r.queue.Next(ctx)
	if err != nil {
		return err
	}
	return r.hold(c)
}

// fill is gather without waiting.
func (r *receiver) fill() error {
	for !r.enough() {
		c, err := r.queue.Pop()
		if c == nil || err != nil {
			return err
		}
		if err := r.hold(c); err != nil {
			return err
		}
	}
	return nil
}

// enough reports whether the buffers have room for the largest frame, or cannot become more: a frame may need several only
// if the driver knows how to merge them.
func (r *receiver) enough() bool {
	if !r.merge {
		return len(r.held.chains) > 0
	}
	return r.held.room >= r.need || r.held.full()
}

var errNoHeader = errors.New("receive buffer without room for a header (5.1.6.3.1)")

// hold adds a buffer to those held.
func (r *receiver) hold(c *virtio.Chain) error {
	if n := c.WritableLen(); n < HeaderSize {
		r.queue.Unpop(c)
		return fmt.Errorf("queue pair %d: %w: %d bytes", r.index, errNoHeader, n)
	}
	r.held.add(c)
	return nil
}

// receive takes one frame from the backend and gives it to the driver, or waits if there is none.
func (r *receiver) receive(ctx context.Context) error {
	if !r.enough() {
		return r.receiveSpare(ctx)
	}
	begun := r.now()
	n, err := r.pair.Receive(r.held.segments)
	if err != nil {
		return r.noFrame(ctx, err)
	}
	r.deliver(min(n, r.held.room), begun)
	return nil
}

// receiveSpare does the same when the driver has no more buffers at the moment. The frame comes to memory of the device's own, and
// waits there if it is larger than the buffers held: to drop it would make TCP slow at the time when the guest has
// most to do. If the driver can give no more, it is dropped.
func (r *receiver) receiveSpare(ctx context.Context) error {
	if r.spare == nil {
		r.spare = [][]byte{make([]byte, HeaderSize+MaxFrame)}
	}
	begun := r.now()
	n, err := r.pair.Receive(r.spare)
	if err != nil {
		return r.noFrame(ctx, err)
	}
	frame := r.spare[0][:min(n, len(r.spare[0]))]
	for r.held.room < len(frame) {
		if r.held.full() || len(r.held.chains) == r.queue.Size() {
			return nil
		}
		if err := r.holdNext(ctx); err != nil {
			return err
		}
	}
	rest := frame
	for _, s := range r.held.segments {
		if rest = rest[copy(s, rest):]; len(rest) == 0 {
			break
		}
	}
	r.deliver(len(frame), begun)
	return nil
}

// deliver pushes the buffers that have a frame of n bytes, header and all.
func (r *receiver) deliver(n int, begun time.Duration) {
	if n < HeaderSize || r.device.linkDown.Load() {
		r.tell() // it may be long before anything is delivered again
		return
	}
	r.written = r.written[:0]
	for left := n; left > 0; {
		k := min(left, r.held.sizes[len(r.written)])
		r.written = append(r.written, uint32(k))
		left -= k
	}
	if !r.checksum {
		// The driver knows no flags then (5.1.6.4.1), but kernels say which checksums are known to be right.
		r.held.put(headerFlags, 0)
	}
	if r.tracer != nil {
		r.tracer.Request(virtio.Request{Queue: r.queue.Index(), Operation: virtio.Receive, Begun: begun, Bytes: uint32(n - HeaderSize)})
	}
	k := len(r.written)
	// Without VIRTIO_NET_F_MRG_RXBUF it is 1 as well (5.1.6.4.1).
	r.held.put(headerNumBuffers, byte(k))
	r.held.put(headerNumBuffers+1, byte(k>>8))
	r.queue.PushSilently(r.held.chains[:k], r.written)
	r.held.drop(k)
	r.untold, r.frames = r.untold+n, r.frames+1
	if r.waited && n < large || r.untold >= maxUntold || r.frames == batch {
		r.tell()
	}
	r.waited = false
	r.streams = r.streams || n >= large
}

// tell interrupts the driver for the frames that it has not been told of, if it wants that. What comes alone, as a question or an
// answer does, it is told of at once. Of a stream it hears when there is no more to receive for the moment: an interrupt for each frame
// would make the guest take the processor, where there is one for all, from the device and from the sender, answer each frame, and
// sleep again.
func (r *receiver) tell() {
	if r.frames > 0 {
		r.untold, r.frames = 0, 0
		r.queue.Interrupt()
	}
}

// now is the tracer's time, if there is one.
func (r *receiver) now() time.Duration {
	if r.tracer == nil {
		return 0
	}
	return r.tracer.Now()
}
