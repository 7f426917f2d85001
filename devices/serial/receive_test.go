package serial

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestReceiveBlocksForRoom: what does not fit waits until the guest has taken
// all that did.
func TestReceiveBlocksForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPort()
		p.set(offFCR, fcrEnable)
		p.set(offIER, ierReceived)
		input := strings.Repeat("0123456789", 3)
		returned := false
		go func() {
			if n, err := p.Receive(t.Context(), []byte(input)); n != len(input) || err != nil {
				t.Errorf("Receive = %d, %v", n, err)
			}
			returned = true
		}()
		for i := range input {
			synctest.Wait()
			want := fifoSize - i
			if i >= fifoSize {
				want = len(input) - i
			}
			if p.input.n != want {
				t.Fatalf("after %d bytes there are %d in the FIFO, want %d", i, p.input.n, want)
			}
			if done := i >= fifoSize; done != returned {
				t.Fatalf("after %d bytes: Receive has returned: %v", i, returned)
			}
			if got := p.in(offData); got != input[i] {
				t.Fatalf("byte %d is %q", i, got)
			}
		}
	})
}

// TestReceiveWokenByClear: a FIFO reset makes room as well.
func TestReceiveWokenByClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPort()
		p.set(offFCR, fcrEnable)
		p.set(offIER, ierReceived)
		go p.Receive(t.Context(), []byte("0123456789abcdefXYZ"))
		synctest.Wait()
		p.set(offFCR, fcrEnable|fcrClearReceive)
		synctest.Wait()
		if got := p.drain(); got != "XYZ" {
			t.Errorf("received %q", got)
		}
	})
}

func TestReceiveCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPort()
		ctx, cancel := context.WithCancel(t.Context())
		var returned atomic.Int32
		receive := func(p port, n, taken int) {
			got, err := p.Receive(ctx, make([]byte, n))
			if got != taken || !errors.Is(err, context.Canceled) {
				t.Errorf("Receive of %d bytes = %d, %v, want %d", n, got, err, taken)
			}
			returned.Add(1)
		}
		go receive(p, 20, fifoSize) // waits for room
		synctest.Wait()
		go receive(p, 1, 0) // waits for its turn
		synctest.Wait()
		if returned.Load() != 0 {
			t.Fatal("a Receive did not wait")
		}
		cancel()
		synctest.Wait()
		if n := returned.Load(); n != 2 {
			t.Fatalf("%d of 2 have returned", n)
		}
		receive(newPort(), 1, 0) // there is room, but no time

		// What was taken stays, and the next call can go on.
		p.set(offIER, ierReceived)
		if got := p.drain(); len(got) != fifoSize {
			t.Errorf("%d bytes are left", len(got))
		}
		p.feed(t, "next")
		if got := p.drain(); got != "next" {
			t.Errorf("received %q", got)
		}
	})
}

func TestReceiveConcurrently(t *testing.T) {
	p := newPort()
	p.set(offIER, ierReceived)
	const each = 100
	var wg sync.WaitGroup
	for c := byte('a'); c < 'd'; c++ {
		wg.Go(func() { p.Receive(t.Context(), bytes.Repeat([]byte{c}, each)) })
	}
	var got strings.Builder
	for got.Len() < 3*each {
		got.WriteString(p.drain())
	}
	wg.Wait()
	for c := byte('a'); c < 'd'; c++ {
		if !strings.Contains(got.String(), strings.Repeat(string(c), each)) {
			t.Errorf("the bytes of one call are not together: %q", got.String())
		}
	}
}

// TestLongPaste is input that is far longer than the FIFO, into a guest that
// reads when it is interrupted.
func TestLongPaste(t *testing.T) {
	interrupt := make(chan struct{}, 1)
	u := New(Config{IRQ: wake(interrupt)})
	p := port{UART: u}
	p.set(offFCR, 0x81) // level 8, as Linux sets it
	p.set(offIER, ierReceived|ierLine)
	paste := bytes.Repeat(everyByte(), 1<<8)
	go u.Receive(t.Context(), paste)
	var got []byte
	for len(got) < len(paste) {
		<-interrupt
		for p.in(offIIR)&byte(iirNone) == 0 {
			got = append(got, p.drain()...)
		}
	}
	if !bytes.Equal(got, paste) {
		t.Error("the guest got something else")
	}
}

// wake is an edge-triggered interrupt that remembers one edge, as an APIC's
// request register does.
type wake chan struct{}

func (w wake) Trigger() error {
	select {
	case w <- struct{}{}:
	default:
	}
	return nil
}

// TestInputWaitsForListener: nothing that a guest does before it listens
// touches the input.
func TestInputWaitsForListener(t *testing.T) {
	p := newPort()
	p.feed(t, "hello")
	for range pollThreshold {
		if got := p.in(offLSR); got&lsrDataReady != 0 {
			t.Fatal("the guest sees input")
		}
	}
	if got := p.in(offData); got != 0 {
		t.Errorf("RBR is %#x", got)
	}
	p.set(offFCR, fcrEnable|fcrClearReceive)
	p.set(offIER, ierTHRE|ierLine|ierModem)
	p.set(offFCR, 0)
	p.in(offData)
	p.in(offIIR) // THRE
	if got := p.in(offIIR); got != byte(iirNone) {
		t.Errorf("IIR is %#x", got)
	}
	p.edges()
	p.set(offIER, ierReceived)
	if got := p.edges(); got != 1 {
		t.Errorf("%d edges when the guest begins to listen", got)
	}
	if got := p.drain(); got != "hello" {
		t.Errorf("received %q", got)
	}
}

func TestPollingGuestListens(t *testing.T) {
	poll := func(p port, n int) (ready bool) {
		for range n {
			ready = p.in(offLSR)&lsrDataReady != 0
		}
		return ready
	}
	p := newPort()
	p.feed(t, "abc")
	if poll(p, pollThreshold) {
		t.Fatal("listening too early")
	}
	p.set(offData, 'x') // a guest that prints
	if poll(p, pollThreshold) {
		t.Fatal("a THR write did not start the count anew")
	}
	p.in(offData) // a guest that clears
	if poll(p, pollThreshold) {
		t.Fatal("an RBR read did not start the count anew")
	}
	if !poll(p, 1) {
		t.Fatal("not listening")
	}
	// To read and to write does not end it.
	if got := p.in(offData); got != 'a' {
		t.Errorf("received %q", got)
	}
	p.set(offData, 'x')
	if !poll(p, 1) {
		t.Error("not listening any more")
	}
	for _, off := range []uint64{offIER, offFCR} {
		p.set(off, 0)
		if poll(p, pollThreshold) {
			t.Errorf("still listening after a write to register %d", off)
		}
		if !poll(p, 1) {
			t.Error("not listening again")
		}
	}
	if got := p.drain(); got != "bc" {
		t.Errorf("received %q", got)
	}
}

// TestWaitForTransmitterIsNoPolling: a vCPU that waits to send reads LSR as
// often as it takes.
func TestWaitForTransmitterIsNoPolling(t *testing.T) {
	g := gate{make(chan byte), make(chan struct{})}
	p := port{UART: New(Config{Out: g})}
	p.feed(t, "input")
	done := make(chan struct{})
	go func() {
		p.set(offData, 'x')
		close(done)
	}()
	<-g.entered
	for range 100 {
		if got := p.in(offLSR); got != 0 {
			t.Fatalf("LSR is %#x", got)
		}
	}
	g.leave <- struct{}{}
	<-done
	if got := p.in(offLSR); got&lsrDataReady != 0 {
		t.Error("the guest sees input")
	}
}
