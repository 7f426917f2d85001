package netif

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/eventfd"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// A bench has one queue and no goroutines.
type bench struct {
	mem   *virtiotest.Memory
	ring  *virtiotest.Ring
	queue *virtio.Queue
	irqs  atomic.Int64
	told  func() // at each interrupt, if there is something to do
}

func (b *bench) Queue(int) {
	b.irqs.Add(1)
	if b.told != nil {
		b.told()
	}
}
func (b *bench) Config() {}

func newBench(t testing.TB, size uint16) *bench {
	t.Helper()
	b := &bench{mem: virtiotest.NewMemory(0x10000, 1<<20)}
	event, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { event.Close() })
	b.ring = virtiotest.NewRing(b.mem, size, false)
	b.queue, err = virtio.NewQueue(virtio.QueueConfig{
		MaxSize: size, Size: uint32(size), DescAddr: b.ring.Desc, AvailAddr: b.ring.Avail, UsedAddr: b.ring.Used,
		Features: virtio.FeatureVersion1 | virtio.FeatureIndirectDesc, Memory: b.mem, Event: event, Interrupts: b,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// session is one with the bench's queue as the receive queue and the transmit queue.
func (b *bench) session(features uint64) *virtio.Session {
	return &virtio.Session{Features: features, Queues: []*virtio.Queue{b.queue, b.queue}, Memory: b.mem}
}

// A turnPair notes whether the transmitter kept the receiver waiting while it sent.
type turnPair struct {
	sink
	turn *sync.Mutex
	kept []bool
}

func (p *turnPair) Send([][]byte) error {
	free := p.turn.TryLock()
	if free {
		p.turn.Unlock()
	}
	p.kept = append(p.kept, !free)
	return nil
}

// TestTurns holds that the receiver waits for the end of a burst only if that is one of several frames of a stream.
func TestTurns(t *testing.T) {
	for _, test := range []struct {
		name   string
		frames int
		size   uint32
		kept   bool
	}{
		{"one", 1, large, false},
		{"stream", 3, large, true},
		{"acknowledgements", 3, 100, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, turn := newBench(t, 64), new(sync.Mutex)
			p := &turnPair{turn: turn}
			tr := newTransmitter(newDevice(t, Config{Backend: newWire(everything)}), 0, p, b.session(0), turn)
			for i := range uint16(test.frames) {
				b.ring.SetDesc(b.ring.Desc, i, virtiotest.Desc{Addr: b.mem.Base() + 1<<19, Len: test.size})
				b.ring.Publish(i)
			}
			c, err := b.queue.Pop()
			if err != nil {
				t.Fatal(err)
			}
			if err := tr.burst(c); err != nil {
				t.Fatal(err)
			}
			want := slices.Repeat([]bool{test.kept}, test.frames)
			if !slices.Equal(p.kept, want) {
				t.Errorf("the receiver was kept waiting: %v, want %v", p.kept, want)
			}
			if !turn.TryLock() {
				t.Error("the receiver waits after the burst")
			}
		})
	}
}

// supply gives n buffers for the largest frames.
func (b *bench) supply(n uint16) {
	for i := range n {
		b.ring.SetDesc(b.ring.Desc, i, virtiotest.Desc{Addr: b.mem.Base() + 1<<19, Len: 64 << 10, Flags: virtiotest.DescWrite})
		b.ring.Publish(i)
	}
}

// receiver is one for the bench's queue whose driver merges buffers.
func (b *bench) receiver(d *Device, p Pair) *receiver {
	return newReceiver(d, 0, p, b.session(featureMergeable), 0, new(sync.Mutex))
}

// A script is a Pair with a list of frames.
type script struct {
	sink
	frames [][]byte
	end    func() // is called when there are no more
}

func (s *script) Receive(buffer [][]byte) (int, error) {
	if len(s.frames) == 0 {
		return 0, ErrNoFrame
	}
	s.frame, s.frames = s.frames[0], s.frames[1:]
	return s.sink.Receive(buffer)
}

func (s *script) Wait(ctx context.Context) error {
	s.end()
	return ctx.Err()
}

// TestReceiveInterruptsOfStream holds that a driver hears of a frame that comes alone at once, and of a stream in its pauses, after so many frames that it
// had better begin, and when it has to give buffers.
func TestReceiveInterruptsOfStream(t *testing.T) {
	small, big := frame(1, 100), frame(2, large)
	for _, test := range []struct {
		name    string
		frames  [][]byte
		buffers uint16
		want    int64
	}{
		{"one small frame", [][]byte{small}, 100, 1},
		{"small ones", slices.Repeat([][]byte{small}, 10), 100, 2}, // of the first at once
		{"a stream", slices.Repeat([][]byte{big}, 10), 100, 1},
		{"a long one", slices.Repeat([][]byte{big}, 2*batch+1), 100, 3},
		{"one of large frames", slices.Repeat([][]byte{frame(3, 60000)}, 20), 100, 2},
		{"one without buffers", slices.Repeat([][]byte{big}, 10), 5, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b, p := newBench(t, 128), &script{frames: test.frames, end: cancel}
			b.supply(test.buffers)
			r := b.receiver(newDevice(t, Config{Backend: newWire(everything)}), p)
			r.waited = true
			done := make(chan error)
			go func() { done <- r.run(ctx) }()
			if int(test.buffers) < len(test.frames) {
				for b.irqs.Load() < test.want {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if got := b.irqs.Load(); got != test.want {
				t.Errorf("%d interrupts, want %d", got, test.want)
			}
		})
	}
}

// An unplugger is a Pair whose frames never end. The cable is pulled after the second.
type unplugger struct {
	sink
	device *Device
}

func (p *unplugger) Receive(buffer [][]byte) (int, error) {
	if p.sent++; p.sent == 3 {
		p.device.linkDown.Store(true)
	}
	return p.sink.Receive(buffer)
}

// TestUnpluggedDuringStream holds that the driver hears of what came before, though the network is never quiet.
func TestUnpluggedDuringStream(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b, device := newBench(t, 64), newDevice(t, Config{Backend: newWire(everything)})
	b.supply(64)
	r := b.receiver(device, &unplugger{sink{frame: frame(1, 1000)}, device})
	done := make(chan error)
	go func() { done <- r.run(ctx) }()
	for b.irqs.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
}

// policies is a Pair that notes what class the receiving thread is of at each frame.
type policies struct {
	script
	seen []uint32
}

func (p *policies) Receive(buffer [][]byte) (int, error) {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return 0, err
	}
	p.seen = append(p.seen, attr.Policy)
	return p.script.Receive(buffer)
}

// TestReceiverGivesWayToStreams holds that small frames alone do not make the thread one that is late.
func TestReceiverGivesWayToStreams(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	small := frame(1, 100)
	b, p := newBench(t, 64), &policies{script: script{frames: [][]byte{small, small, frame(2, large), small}, end: cancel}}
	b.supply(64)
	r := b.receiver(newDevice(t, Config{Backend: newWire(everything)}), p)
	done := make(chan error)
	go func() { done <- r.run(ctx) }()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if want := []uint32{unix.SCHED_NORMAL, unix.SCHED_NORMAL, unix.SCHED_NORMAL, unix.SCHED_BATCH, unix.SCHED_BATCH}; !slices.Equal(p.seen, want) {
		t.Errorf("the thread was of the classes %v, want %v", p.seen, want)
	}
}

// A sink is a Pair with the same frame again and again, which takes all that is sent.
type sink struct {
	frame []byte
	sent  int
}

func (s *sink) Send(frame [][]byte) error { s.sent++; return nil }

func (s *sink) Receive(buffer [][]byte) (int, error) {
	rest := s.frame
	for _, b := range buffer {
		if rest = rest[copy(b, rest):]; len(rest) == 0 {
			return len(s.frame), nil
		}
	}
	return 0, ErrNoFrame
}

func (s *sink) Wait(ctx context.Context) error { return ctx.Err() }

// publish makes n chains of one descriptor each available, which need not be reaped.
func (b *bench) publish(n int, write bool) {
	var flags uint16
	if write {
		flags = virtiotest.DescWrite
	}
	for i := range uint16(n) {
		b.ring.SetDesc(b.ring.Desc, i, virtiotest.Desc{Addr: b.mem.Base() + 1<<19, Len: 1530, Flags: flags})
	}
}

func TestTransmitDoesNotAllocate(t *testing.T) {
	b, p := newBench(t, 64), &sink{}
	tr := newTransmitter(newDevice(t, Config{Backend: newWire(everything)}), 0, p, b.session(0), new(sync.Mutex))
	b.publish(64, false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(100, func() {
		for i := range uint16(40) {
			b.ring.Publish(i)
		}
		for range 2 {
			c, err := b.queue.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := tr.burst(c); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("40 frames allocate %v times", n)
	}
	if p.sent != 101*40 {
		t.Errorf("%d frames", p.sent)
	}
}

func TestReceiveDoesNotAllocate(t *testing.T) {
	for name, features := range map[string]uint64{"one buffer": 0, "merged": featureMergeable | featureGuestChecksum | featureGuestTSO4} {
		for _, room := range []int{64, 20} { // enough for the largest frame, and not enough
			b, p := newBench(t, 64), &sink{frame: frame(0, 4000)}
			if features == 0 {
				p.frame = p.frame[:1500]
			}
			r := newReceiver(newDevice(t, Config{Backend: newWire(everything)}), 0, p, b.session(features), guestOffloads(features), new(sync.Mutex))
			b.publish(64, true)
			ctx, cancel := context.WithCancel(t.Context())
			next := uint16(0)
			add := func(n int) {
				for range n {
					b.ring.Publish(next % 64)
					next++
				}
			}
			add(room)
			if n := testing.AllocsPerRun(200, func() {
				if err := r.gather(ctx); err != nil {
					t.Fatal(err)
				}
				if err := r.receive(ctx); err != nil {
					t.Fatal(err)
				}
				add(len(r.written))
			}); n != 0 {
				t.Errorf("%s: a frame allocates %v times", name, n)
			}
			cancel()
			r.held.unpop(b.queue)
		}
	}
}

// An inPlace is a Pair that knows where the guest's memory is.
type inPlace struct {
	sink
	t    *testing.T
	want []byte // of the guest
}

func (p *inPlace) check(what string, segments [][]byte, want []byte) {
	p.t.Helper()
	if len(segments) == 0 || &segments[0][0] != &want[0] {
		p.t.Errorf("%s: the segments are not the guest's memory", what)
	}
}

func (p *inPlace) Send(frame [][]byte) error {
	p.check("Send", frame[1:], p.want[HeaderSize:]) // the header is a copy
	return p.sink.Send(frame)
}

func (p *inPlace) Receive(buffer [][]byte) (int, error) {
	p.check("Receive", buffer, p.want)
	return p.sink.Receive(buffer)
}

// TestFramesAreNotCopied holds that the backend gets the driver's own memory: on a tap the host's kernel makes the one copy that there is.
func TestFramesAreNotCopied(t *testing.T) {
	b, p := newBench(t, 64), &inPlace{t: t, sink: sink{frame: frame(0, 1000)}}
	p.want = b.mem.Bytes(b.mem.Base()+1<<19, 100)
	d := newDevice(t, Config{Backend: newWire(everything)})
	b.publish(1, false)
	b.ring.Publish(0)
	c, err := b.queue.Pop()
	if err != nil {
		t.Fatal(err)
	}
	if err := newTransmitter(d, 0, p, b.session(0), new(sync.Mutex)).burst(c); err != nil || p.sent != 1 {
		t.Errorf("%d frames, %v", p.sent, err)
	}
	b = newBench(t, 64)
	p.want = b.mem.Bytes(b.mem.Base()+1<<19, 100)
	b.supply(2)
	r := b.receiver(d, p)
	if err := r.gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.receive(t.Context()); err != nil || len(r.written) != 1 {
		t.Errorf("%d buffers, %v", len(r.written), err)
	}
}

// FuzzTransmit sends frames whose bytes and segments are the input's: three bytes say how long a frame is and how it is
// split.
func FuzzTransmit(f *testing.F) {
	f.Add([]byte{60, 0, 12, 1, 0, 1, 255, 255, 90, 30, 17, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		b, p := newBench(t, 64), &bounded{t: t}
		tr := newTransmitter(newDevice(t, Config{Backend: newWire(everything)}), 0, p, b.session(0), new(sync.Mutex))
		want := 0
		for n := 0; len(input) >= 3 && n < 20; n++ {
			size, seg := int(input[0])|int(input[1])<<8, 2*int(input[2])+1
			input = input[3:]
			size += size / 8 // beyond the largest frame
			if size/seg > 60 {
				seg = size/60 + 1
			}
			if size >= HeaderSize+ethernetHeader && size <= HeaderSize+MaxFrame {
				want++
			}
			bufs := cut(b.mem.Base()+1<<19, size, seg, false)
			if len(bufs) == 0 {
				continue
			}
			b.ring.AddIndirect(bufs...)
			c, err := b.queue.Pop()
			if c == nil || err != nil {
				t.Fatalf("Pop: %v, %v", c, err)
			}
			if err := tr.burst(c); err != nil {
				t.Fatal(err)
			}
			if u, ok := b.ring.Reap(); !ok || u.Len != 0 {
				t.Fatalf("used %v, %v", u, ok)
			}
		}
		if p.frames != want {
			t.Errorf("%d frames of %d", p.frames, want)
		}
	})
}

// bounded checks that what is sent can be a frame.
type bounded struct {
	sink
	t      *testing.T
	frames int
}

func (b *bounded) Send(frame [][]byte) error {
	n := 0
	for _, s := range frame {
		if len(s) == 0 {
			b.t.Error("an empty segment")
		}
		n += len(s)
	}
	if n < HeaderSize+ethernetHeader || n > HeaderSize+MaxFrame {
		b.t.Errorf("a frame of %d bytes", n)
	}
	b.frames++
	return nil
}

// FuzzReceive receives frames into buffers, both as the input says: a byte is a buffer's size in tens, or a frame's in hundreds.
func FuzzReceive(f *testing.F) {
	f.Add(true, true, []byte{153, 153, 153, 153}, []byte{1, 15, 30, 60, 255})
	f.Add(false, false, []byte{153, 1, 9}, []byte{1, 15, 0})
	f.Fuzz(func(t *testing.T, merge, large bool, buffers, frames []byte) {
		var features uint64
		if merge {
			features |= featureMergeable
		}
		if large {
			features |= featureGuestChecksum | featureGuestTSO4
		}
		b, p := newBench(t, 64), &sink{}
		r := newReceiver(newDevice(t, Config{Backend: newWire(everything), QueueSize: 64}), 0, p, b.session(features), guestOffloads(features), new(sync.Mutex))
		r.mu.Lock() // as run does
		for i, n := range buffers[:min(len(buffers), 40)] {
			b.ring.AddIndirect(cut(b.mem.Base()+1<<19, 10*int(n)+1, 100+i, true)...)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // wait for nothing
		used := 0
		for _, n := range frames {
			p.frame = frame(n, 14+100*int(n))
			if r.gather(ctx) != nil {
				break
			}
			if r.receive(ctx) != nil {
				continue
			}
			want := len(p.frame)
			got := 0
			for u, ok := b.ring.Reap(); ok; u, ok = b.ring.Reap() {
				got += int(u.Len)
				used++
			}
			if got != want {
				t.Errorf("a frame of %d bytes came as %d", want, got)
			}
		}
		r.held.unpop(b.queue)
		left := 0
		for c, err := b.queue.Pop(); c != nil && err == nil; c, err = b.queue.Pop() {
			left++
		}
		if n := min(len(buffers), 40); used+left != n {
			t.Errorf("%d buffers used and %d left of %d", used, left, n)
		}
	})
}

// FuzzControl gives the device one command.
func FuzzControl(f *testing.F) {
	for _, p := range [][]byte{{0, 0, 1}, macTable(1, 2), {1, 1, 2, 3, 4, 5, 6, 7}, {4, 0, 2, 0}, offloadsCommand(1), {1, 0, 255, 255, 255, 255}} {
		f.Add(p, byte(3))
	}
	f.Fuzz(func(t *testing.T, p []byte, seg byte) {
		if len(p) == 0 || len(p) > 60*(int(seg)+1) {
			return
		}
		b := newBench(t, 64)
		d := newDevice(t, Config{Backend: newWire(everything), Pairs: 3})
		s := &virtio.Session{Features: d.Features() | virtio.FeatureVersion1}
		for range 7 {
			s.Queues = append(s.Queues, b.queue)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the pairs stop when they are started
		r := &run{device: d, session: s}
		in, out := b.mem.Alloc(uint64(len(p)), 1), b.mem.Alloc(4, 1)
		copy(b.mem.Bytes(in, uint64(len(p))), p)
		copy(b.mem.Bytes(out, 4), "\xee\xee\xee\xee")
		b.ring.AddIndirect(append(cut(in, len(p), int(seg)+1, false), virtiotest.Buf{Addr: out, Len: 4, Write: true})...)
		c, err := b.queue.Pop()
		if c == nil || err != nil {
			t.Fatalf("Pop: %v, %v", c, err)
		}
		if err := r.control(ctx, b.queue, c); err != nil {
			return // the settings need a restart, and ctx has ended
		}
		r.stop()
		if u, ok := b.ring.Reap(); !ok || u.Len != 1 {
			t.Errorf("used %v, %v", u, ok)
		}
		if a := b.mem.Bytes(out, 4); a[0] > ackError || string(a[1:]) != "\xee\xee\xee" {
			t.Errorf("answer %x", a)
		}
		if set := d.current(); set.pairs < 1 || set.pairs > 3 || !set.mac.individual() || set.offloads&^everything.Receive != 0 {
			t.Errorf("settings %+v", set)
		}
	})
}
