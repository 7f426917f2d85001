package console

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"govmm/devices/eventfd"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// give makes an empty buffer for input available and returns its address.
func (g *guest) give(sizes ...uint32) uint64 {
	var bufs []virtiotest.Buf
	var n uint64
	for _, size := range sizes {
		n += uint64(size)
	}
	addr := g.Mem.Alloc(n, 1)
	at := addr
	for _, size := range sizes {
		bufs = append(bufs, virtiotest.Buf{Addr: at, Len: size, Write: true})
		at += uint64(size)
	}
	g.Rings[receiveQueue].Add(bufs...)
	g.Kick(receiveQueue)
	return addr
}

// take waits until the device has used the buffer at addr and returns its content.
func (g *guest) take(addr uint64) string {
	g.t.Helper()
	u := g.Await(receiveQueue)
	return string(g.Mem.Bytes(addr, uint64(u.Len)))
}

type received struct {
	n   int
	err error
}

// receive calls Receive in another goroutine.
func (g *guest) receive(ctx context.Context, p string) chan received {
	c := make(chan received, 1)
	go func() {
		n, err := g.device.Receive(ctx, []byte(p))
		c <- received{n, err}
	}()
	return c
}

func TestReceive(t *testing.T) {
	g := newGuest(t, Config{})
	addr := g.give(100)
	if n, err := g.device.Receive(t.Context(), []byte("hello")); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := g.take(addr); got != "hello" {
		t.Errorf("received %q", got)
	}
	if n, err := g.device.Receive(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
}

// TestReceiveWaitsForBuffers holds that what is longer than the buffers, or comes before them, waits and is whole.
func TestReceiveWaitsForBuffers(t *testing.T) {
	g := newGuest(t, Config{})
	const input = "0123456789abcdefghijklmnopqrstuvwxyz"
	done := g.receive(t.Context(), input)
	var got strings.Builder
	for i := 0; got.Len() < len(input); i++ {
		select {
		case r := <-done:
			t.Fatalf("Receive has returned %+v after %d bytes", r, got.Len())
		default:
		}
		var addr uint64
		switch i % 3 {
		case 0:
			addr = g.give(5)
		case 1:
			addr = g.give(0) // of no use, and given back
		case 2:
			addr = g.give(1, 0, 3)
		}
		got.WriteString(g.take(addr))
	}
	if r := <-done; r.n != len(input) || r.err != nil {
		t.Errorf("Receive: %+v", r)
	}
	if got.String() != input {
		t.Errorf("received %q", got.String())
	}
}

// TestReceiveReadableBuffer holds that a buffer which the device must not write to is given back untouched.
func TestReceiveReadableBuffer(t *testing.T) {
	g := newGuest(t, Config{})
	bufs := g.text("mine")
	g.Rings[receiveQueue].Add(bufs...)
	addr := g.give(10)
	done := g.receive(t.Context(), "input")
	if u := g.Await(receiveQueue); u.Len != 0 {
		t.Errorf("%d bytes were written to it", u.Len)
	}
	if got := g.take(addr); got != "input" {
		t.Errorf("received %q", got)
	}
	<-done
	if got := string(g.Mem.Bytes(bufs[0].Addr, 4)); got != "mine" {
		t.Errorf("it is %q now", got)
	}
}

func TestReceiveCancelled(t *testing.T) {
	g := newGuest(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	first := g.receive(ctx, "0123456789")
	addr := g.give(4)
	if got := g.take(addr); got != "0123" {
		t.Errorf("received %q", got)
	}
	second := g.receive(ctx, "x") // waits for its turn
	cancel()
	if r := <-first; r.n != 4 || !errors.Is(r.err, context.Canceled) {
		t.Errorf("Receive: %+v", r)
	}
	if r := <-second; r.n != 0 || !errors.Is(r.err, context.Canceled) {
		t.Errorf("Receive: %+v", r)
	}
	if n, err := g.device.Receive(ctx, []byte("y")); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Receive: %d, %v", n, err)
	}
	// The device may wait for a buffer still. It is for who comes next.
	addr = g.give(100)
	if n, err := g.device.Receive(t.Context(), []byte("next")); n != 4 || err != nil {
		t.Errorf("Receive: %d, %v", n, err)
	}
	if got := g.take(addr); got != "next" {
		t.Errorf("received %q", got)
	}
}

// TestReceiveCancelledAtTheLastMoment holds that a buffer stays the guest's when the input is withdrawn while the device
// takes it.
func TestReceiveCancelledAtTheLastMoment(t *testing.T) {
	g := newGuest(t, Config{})
	addr := g.give(100)
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	g.ram.write = func(a uint64) {
		if a == addr {
			cancel()
			<-returned
		}
	}
	if n, err := g.device.Receive(ctx, []byte("gone")); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Receive: %d, %v", n, err)
	}
	close(returned)
	done := g.receive(t.Context(), "next")
	if got := g.take(addr); got != "next" {
		t.Errorf("received %q", got)
	}
	<-done
}

// TestReceiveAcrossPauses holds that no byte is lost or doubled.
func TestReceiveAcrossPauses(t *testing.T) {
	g := newGuest(t, Config{})
	input := strings.Repeat("0123456789abcdef", 40)
	done := g.receive(t.Context(), input)
	var got strings.Builder
	for i := 0; got.Len() < len(input); i++ {
		if err := g.transport.Pause(); err != nil {
			t.Fatal(err)
		}
		addr := g.give(uint32(i%7 + 1))
		if i%2 == 0 {
			g.transport.Resume()
			got.WriteString(g.take(addr))
			continue
		}
		if _, ok := g.Rings[receiveQueue].Reap(); ok {
			t.Fatal("the device took a buffer during a pause")
		}
		g.transport.Resume()
		got.WriteString(g.take(addr))
	}
	if r := <-done; r.n != len(input) || r.err != nil {
		t.Errorf("Receive: %+v", r)
	}
	if got.String() != input {
		t.Errorf("received %q", got.String())
	}
}

// TestReceiveAcrossReset holds that input waits for the next driver.
func TestReceiveAcrossReset(t *testing.T) {
	g := newGuest(t, Config{})
	done := g.receive(t.Context(), "abcdef")
	addr := g.give(3)
	if got := g.take(addr); got != "abc" {
		t.Errorf("received %q", got)
	}
	g.start()
	addr = g.give(3)
	if got := g.take(addr); got != "def" {
		t.Errorf("received %q", got)
	}
	if r := <-done; r.n != 6 || r.err != nil {
		t.Errorf("Receive: %+v", r)
	}
}

func TestReceiveConcurrently(t *testing.T) {
	g := newGuest(t, Config{})
	const each, calls = 50, 3
	var wg sync.WaitGroup
	for c := range calls {
		wg.Go(func() { g.device.Receive(t.Context(), bytes.Repeat([]byte{'a' + byte(c)}, each)) })
	}
	var got strings.Builder
	for got.Len() < calls*each {
		got.WriteString(g.take(g.give(7)))
	}
	wg.Wait()
	for c := range calls {
		if !strings.Contains(got.String(), strings.Repeat(string(rune('a'+c)), each)) {
			t.Errorf("the bytes of one call are not together: %q", got.String())
		}
	}
}

// gate is an Out that blocks.
type gate struct{ entered, leave chan struct{} }

func (g gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.leave
	return len(p), nil
}

// TestBlockedOutput holds that input and size pass while output does not.
func TestBlockedOutput(t *testing.T) {
	out := gate{make(chan struct{}), make(chan struct{})}
	g := newGuest(t, Config{Out: out})
	g.Rings[transmitQueue].Add(g.text("stuck")...)
	g.Kick(transmitQueue)
	<-out.entered
	addr := g.give(10)
	if n, err := g.device.Receive(t.Context(), []byte("input")); n != 5 || err != nil {
		t.Errorf("Receive: %d, %v", n, err)
	}
	if got := g.take(addr); got != "input" {
		t.Errorf("received %q", got)
	}
	g.device.Resize(10, 20)
	g.awaitConfigChange()
	if _, ok := g.Rings[transmitQueue].Reap(); ok {
		t.Error("the buffer was used before it was printed")
	}
	close(out.leave)
	g.Await(transmitQueue)
}

// TestBrokenReceiveQueue holds that the device finds it when there is input.
func TestBrokenReceiveQueue(t *testing.T) {
	g := newGuest(t, Config{})
	g.Rings[receiveQueue].SetAvailIdx(1000)
	done := g.receive(t.Context(), "x")
	g.AwaitNeedsReset()
	g.start()
	addr := g.give(10)
	if got := g.take(addr); got != "x" {
		t.Errorf("received %q", got)
	}
	<-done
}

type noInterrupts struct{}

func (noInterrupts) Queue(int) {}
func (noInterrupts) Config()   {}

// TestDoesNotAllocate is about both directions, without transport and goroutines.
func TestDoesNotAllocate(t *testing.T) {
	mem := virtiotest.NewMemory(0x10000, 1<<20)
	ring := virtiotest.NewRing(mem, 16, false)
	event, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	defer event.Close()
	q, err := virtio.NewQueue(virtio.QueueConfig{
		MaxSize: 16, Size: 16, DescAddr: ring.Desc, AvailAddr: ring.Avail, UsedAddr: ring.Used,
		Features: virtio.FeatureVersion1, Memory: mem, Event: event, Interrupts: noInterrupts{},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := New(Config{})
	chain := func(serve func(*virtio.Chain), bufs ...virtiotest.Buf) float64 {
		return testing.AllocsPerRun(100, func() {
			ring.Add(bufs...)
			c, _ := q.Pop()
			serve(c)
			q.Push(c, 0)
			ring.Reap()
		})
	}
	out := virtiotest.Buf{Addr: mem.Alloc(100, 1), Len: 100}
	in := virtiotest.Buf{Addr: mem.Alloc(100, 1), Len: 100, Write: true}
	nothing := func(*virtio.Chain) {}
	if n := chain(func(c *virtio.Chain) { d.print(c.Readable()) }, out, out) - chain(nothing, out, out); n > 0 {
		t.Errorf("output allocates %v times", n)
	}
	typed := []byte("typed")
	d.input.setOpen(true)
	receive := func(c *virtio.Chain) {
		d.input.bring(typed)
		d.input.fill(c)
	}
	if n := chain(receive, in, in) - chain(nothing, in, in); n > 0 {
		t.Errorf("input allocates %v times", n)
	}
	emergency := []byte{'x', 0, 0, 0}
	if n := testing.AllocsPerRun(100, func() { d.WriteConfig(configEmergencyWrite, emergency) }); n != 0 {
		t.Errorf("an emergency write allocates %v times", n)
	}
}

// FuzzInput feeds the input to buffers of the sizes that its first bytes say.
func FuzzInput(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0, 'a', 'b', 'c', 'd', 'e', 'f', 'g'})
	f.Add([]byte{0, 0, 0, 1, 'x', 'y'})
	f.Add([]byte{255, 0, 0, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		const sizes = 4
		if len(input) < sizes || len(input) > 300 {
			return
		}
		input[sizes-1] |= 1 // some room there must be
		text := string(input[sizes:])
		g := newGuest(t, Config{})
		done := g.receive(t.Context(), text)
		var got strings.Builder
		for i := 0; got.Len() < len(text); i++ {
			got.WriteString(g.take(g.give(uint32(input[i%sizes]), uint32(input[(i+1)%sizes]))))
		}
		if r := <-done; r.n != len(text) || r.err != nil || got.String() != text {
			t.Errorf("received %q of %q; %+v", got.String(), text, r)
		}
		g.transport.Close()
	})
}
