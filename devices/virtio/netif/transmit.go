package netif

import (
	"context"
	"sync"
	"time"

	"govmm/devices/virtio"
)

const (
	ethernetHeader = 14

	// batch is how many frames are sent, or received, before the driver hears of them.
	batch = 32

	// large is the length of frames that belong to a stream: segments, and no acknowledgements.
	large = 4096
)

// A transmitter takes frames from a transmit queue (5.1.6.2) to the backend.
type transmitter struct {
	device *Device
	index  int
	pair   Pair
	queue  *virtio.Queue
	tracer virtio.Tracer // nil if there is none
	turn   *sync.Mutex   // is held during a burst of large frames
	known  known         // what headers may ask for
	header [HeaderSize]byte
	frame  [][]byte        // header, and what is behind it in guest memory
	done   []*virtio.Chain // sent, not pushed
	none   [batch]uint32   // the lengths of what the device wrote to them

	// A network that answers at once, nil if it is none, and who receives from it.
	answerer Answerer
	receiver *receiver
}

func newTransmitter(d *Device, index int, p Pair, s *virtio.Session, turn *sync.Mutex) *transmitter {
	return &transmitter{
		device: d, index: index, pair: p, queue: s.Queues[transmitQueue(index)], turn: turn, known: knownOf(s.Features),
		frame: make([][]byte, 0, int(d.queueSize)+1), done: make([]*virtio.Chain, 0, batch),
	}
}

func (t *transmitter) run(ctx context.Context) error {
	giveWay()
	for {
		c, err := t.queue.Next(ctx)
		if err != nil {
			return err
		}
		if err := t.burst(c); err != nil {
			return err
		}
	}
}

// burst sends c and those behind it, up to batch in all, and pushes them together. If it is a stream's and has others behind it already, the
// receiver waits for the end. What is sent alone, as a question is, gets its answer at once, and acknowledgements do not delay what they are for.
func (t *transmitter) burst(c *virtio.Chain) error {
	switch {
	case c.ReadableLen() >= large && t.queue.More():
		t.turn.Lock()
		defer t.turn.Unlock()
	case t.answerer != nil && !t.queue.More():
		return t.ask(c)
	}
	var err error
	for c != nil {
		t.send(c.Readable())
		if t.done = append(t.done, c); len(t.done) == batch {
			break
		}
		c, err = t.queue.Pop()
	}
	t.queue.PushAll(t.done, t.none[:len(t.done)])
	t.done = t.done[:0]
	return err
}

// ask sends c alone. The driver hears of the answer before it hears that c was sent, for it is the answer that somebody waits for.
func (t *transmitter) ask(c *virtio.Chain) error {
	t.answerer.Hold()
	t.send(c.Readable())
	err := t.receiver.answer(t.answerer)
	t.queue.Push(c, 0)
	return err
}

// send gives the backend a frame that can be one.
func (t *transmitter) send(frame [][]byte) {
	n := 0
	for _, s := range frame {
		// The sum of a chain's lengths is less than 4 GiB.
		n += len(s)
	}
	if n < HeaderSize+ethernetHeader || n > HeaderSize+MaxFrame || t.device.linkDown.Load() {
		return
	}
	var begun time.Duration
	if t.tracer != nil {
		begun = t.tracer.Now()
	}
	if !t.take(frame) {
		return
	}
	err := t.pair.Send(t.frame)
	if t.tracer != nil {
		t.traced(n, begun, err)
	}
	if err != nil {
		t.device.complain(&t.device.failed, "cannot send", t.index, err)
	}
}

// take makes t.frame of a chain, with a copy of the header, which the guest cannot change any more, and reports whether the header asks for what was negotiated.
func (t *transmitter) take(chain [][]byte) bool {
	t.frame = append(t.frame[:0], t.header[:])
	for n := 0; len(chain) > 0; chain = chain[1:] {
		s := chain[0]
		if n < HeaderSize {
			k := copy(t.header[n:], s)
			n, s = n+k, s[k:]
		}
		if len(s) > 0 {
			t.frame = append(t.frame, s)
		}
	}
	return t.known.check(&t.header)
}

// traced tells of a frame that took n bytes with its header.
func (t *transmitter) traced(n int, begun time.Duration, err error) {
	r := virtio.Request{Queue: t.queue.Index(), Operation: virtio.Send, Begun: begun, Bytes: uint32(n - HeaderSize)}
	if err != nil {
		r.Status = 1
	}
	t.tracer.Request(r)
}
