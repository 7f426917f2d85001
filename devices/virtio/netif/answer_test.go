package netif

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"govmm/devices/virtio/virtiotest"
)

// A responder is an Answerer that answers each frame with as many of 100 bytes as the frame's first byte behind the header says.
type responder struct {
	sink
	frames [][]byte
	log    []string // what was called
	after  func()   // at the end of Send, if there is something to do
}

func (p *responder) note(s string) { p.log = append(p.log, s) }

func (p *responder) Send(f [][]byte) error {
	p.note("send")
	for i := range f[1][0] {
		p.frames = append(p.frames, frame(i, 100))
	}
	if p.after != nil {
		p.after()
	}
	return nil
}

func (p *responder) Receive(buffer [][]byte) (int, error) {
	if len(p.frames) == 0 {
		return 0, ErrNoFrame
	}
	p.note("receive")
	p.sink.frame, p.frames = p.frames[0], p.frames[1:]
	return p.sink.Receive(buffer)
}

func (p *responder) Hold() { p.note("hold") }
func (p *responder) Release(more bool) {
	p.note(map[bool]string{false: "release", true: "release, more"}[more])
}

// An asker is a transmitter and a receiver of a responder, each with a ring of its own.
type asker struct {
	p        *responder
	tx, rx   *bench
	transmit *transmitter
	receive  *receiver
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	a := &asker{p: new(responder), tx: newBench(t, 64), rx: newBench(t, 64)}
	d := newDevice(t, Config{Backend: newWire(everything)})
	a.receive = a.rx.receiver(d, a.p)
	a.transmit = newTransmitter(d, 0, a.p, a.tx.session(0), new(sync.Mutex))
	a.transmit.answerer, a.transmit.receiver = a.p, a.receive
	return a
}

// ask sends n frames together, each of which wants answers.
func (a *asker) ask(t *testing.T, n uint16, answers byte) error {
	t.Helper()
	addr := a.tx.mem.Base() + 1<<19
	a.tx.mem.Bytes(addr+HeaderSize, 1)[0] = answers
	for i := range n {
		a.tx.ring.SetDesc(a.tx.ring.Desc, i, virtiotest.Desc{Addr: addr, Len: HeaderSize + 60})
		a.tx.ring.Publish(i)
	}
	c, err := a.tx.queue.Pop()
	if err != nil {
		t.Fatal(err)
	}
	return a.transmit.burst(c)
}

func (a *asker) expect(t *testing.T, received int64, calls ...string) {
	t.Helper()
	if !slices.Equal(a.p.log, calls) {
		t.Errorf("calls %q, want %q", a.p.log, calls)
	}
	n := int64(0)
	for _, ok := a.rx.ring.Reap(); ok; _, ok = a.rx.ring.Reap() {
		n++
	}
	if n != received {
		t.Errorf("%d frames were received, want %d", n, received)
	}
}

// TestAnswer holds that who asks receives the answer, and before the driver hears that the question was sent.
func TestAnswer(t *testing.T) {
	a := newAsker(t)
	a.rx.supply(16)
	a.p.after = func() {
		if a.rx.irqs.Load() != 0 || a.tx.irqs.Load() != 0 {
			t.Error("an interrupt before the answer")
		}
	}
	a.rx.told = func() {
		if a.tx.irqs.Load() != 0 {
			t.Error("the driver hears of the answer after it heard that the question was sent")
		}
	}
	if err := a.ask(t, 1, 1); err != nil {
		t.Fatal(err)
	}
	a.expect(t, 1, "hold", "send", "receive", "release")
	if rx, tx := a.rx.irqs.Load(), a.tx.irqs.Load(); rx != 1 || tx != 1 {
		t.Errorf("%d interrupts for the answer, %d for the question", rx, tx)
	}
	if !a.receive.mu.TryLock() {
		t.Error("the receiver cannot go on")
	}
}

// TestAnswerLeavesRest holds what is left to the receiver.
func TestAnswerLeavesRest(t *testing.T) {
	for _, test := range []struct {
		name            string
		before          func(*testing.T, *asker) // if there is something to do
		buffers, frames uint16
		answers         byte
		received        int64
		calls           []string
	}{
		{"stream", nil, 16, 1, maxAnswer + 1, maxAnswer, slices.Concat([]string{"hold", "send"}, slices.Repeat([]string{"receive"}, maxAnswer), []string{"release, more"})},
		{"no buffers", nil, 0, 1, 1, 0, []string{"hold", "send", "release"}},
		{"few buffers", nil, 1, 1, 3, 1, []string{"hold", "send", "receive", "release, more"}},
		{"several questions", nil, 16, 2, 1, 0, []string{"send", "send"}},
		{"receiver at work", func(_ *testing.T, a *asker) { a.receive.mu.Lock() }, 16, 1, 1, 0, []string{"hold", "send", "release"}},
		{"receiver at its end", endReceiver, 16, 1, 1, 0, []string{"hold", "send", "release"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAsker(t)
			a.rx.supply(test.buffers)
			if test.before != nil {
				test.before(t, a)
			}
			if err := a.ask(t, test.frames, test.answers); err != nil {
				t.Fatal(err)
			}
			a.expect(t, test.received, test.calls...)
		})
	}
}

// endReceiver has the receiver run and end.
func endReceiver(t *testing.T, a *asker) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.receive.run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestAnswerIntoBrokenQueue holds that a receive queue which makes no sense ends the run.
func TestAnswerIntoBrokenQueue(t *testing.T) {
	a := newAsker(t)
	a.rx.ring.SetDesc(a.rx.ring.Desc, 0, virtiotest.Desc{Addr: a.rx.mem.Base() - 1, Len: 100, Flags: virtiotest.DescWrite})
	a.rx.ring.Publish(0)
	if err := a.ask(t, 1, 1); err == nil {
		t.Error("no error")
	}
	a.expect(t, 0, "hold", "send", "release")
}

// An answeringWire is a wire with one port, which is an Answerer.
type answeringWire struct {
	*wire
	port *answeringPort
}

func newAnsweringWire() answeringWire {
	w := newWire(Info{Send: everything.Send, Receive: everything.Receive, MTU: 1500, Pairs: 1})
	w.echo = true
	return answeringWire{w, &answeringPort{port: w.ports[0]}}
}

func (w answeringWire) Pair(int) Pair { return w.port }

type answeringPort struct {
	*port
	held     atomic.Bool
	answered atomic.Int64 // frames that were received on hold
}

func (p *answeringPort) Hold() { p.held.Store(true) }

func (p *answeringPort) Release(more bool) {
	p.held.Store(false)
	if more {
		p.wake()
	}
}

func (p *answeringPort) Receive(buffer [][]byte) (int, error) {
	n, err := p.port.Receive(buffer)
	if err == nil && p.held.Load() {
		p.answered.Add(1)
	}
	return n, err
}

// TestAnswersUnderLoad has frames come from outside while others are answered at once, and loses none.
func TestAnswersUnderLoad(t *testing.T) {
	const rounds, size = 1000, 1600
	w := newAnsweringWire()
	g := newGuest(t, w.wire, Config{Backend: w}, featureMergeable, 64)
	buffers := map[uint32]buffer{}
	count := map[int]int{} // by length
	for range rounds {
		maps.Copy(buffers, g.supply(0, size, size, size))
		go w.port.give(frame(1, 70))
		g.send(0, frame(2, 60), size)
		for range 2 {
			f, _ := g.receive(0, buffers)
			count[len(f)]++
		}
	}
	if count[HeaderSize+60] != rounds || count[HeaderSize+70] != rounds {
		t.Errorf("frames by length: %v, want %d of each", count, rounds)
	}
	if w.port.answered.Load() == 0 { // how many is up to how quick the receiver is
		t.Error("no frame was answered by who asked")
	}
}
