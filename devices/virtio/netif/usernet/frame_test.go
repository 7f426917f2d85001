package usernet

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"govmm/devices/virtio/netif"
)

// synFrame returns the frame of a SYN from the guest.
func synFrame(dst string, port uint16) []byte {
	p := make([]byte, prefixSize+header.IPv4MinimumSize+header.TCPMinimumSize)
	putEther(p[netif.HeaderSize:], hostMAC, guestMAC, typeIPv4)
	ip := header.IPv4(p[prefixSize:])
	src, to := toStack(netip.MustParseAddr("10.0.2.15")), toStack(netip.MustParseAddr(dst))
	ip.Encode(&header.IPv4Fields{TotalLength: 40, TTL: 64, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: src, DstAddr: to})
	ip.SetChecksum(^ip.CalculateChecksum())
	h := header.TCP(ip.Payload())
	h.Encode(&header.TCPFields{SrcPort: 1000, DstPort: port, SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 1000})
	h.SetChecksum(^h.CalculateChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, to, header.TCPMinimumSize)))
	return p
}

// TestSendSizes holds that frames of any size are taken or dropped.
func TestSendSizes(t *testing.T) {
	p := newBackend(t, Config{}).Pair(0)
	for _, n := range []int{0, 1, 11, 12, 13, 25, 26, 27, 45, 46, 60, 1514, 65535, 65536, 65553, 65565, 65566, 70000} {
		frame := make([]byte, n)
		if n >= prefixSize {
			putEther(frame[netif.HeaderSize:], hostMAC, guestMAC, typeIPv4)
		}
		if n >= 30 {
			frame[prefixSize] = 0x45
			binary.BigEndian.PutUint16(frame[prefixSize+2:], uint16(min(n-prefixSize, 65535)))
		}
		var segments [][]byte
		if n > 0 {
			segments = append(segments, frame[:1])
		}
		if n > 1 {
			segments = append(segments, frame[1:])
		}
		if err := p.Send(segments); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if _, err := p.Receive([][]byte{make([]byte, 2000)}); err == nil {
			t.Errorf("%d bytes have an answer", n)
		}
	}
}

func TestValidSend(t *testing.T) {
	header := func(flags, gso byte, size, start, offset uint16) []byte {
		p := make([]byte, netif.HeaderSize)
		p[hdrFlags], p[hdrGSOType] = flags, gso
		binary.LittleEndian.PutUint16(p[hdrGSOSize:], size)
		binary.LittleEndian.PutUint16(p[hdrCsumStart:], start)
		binary.LittleEndian.PutUint16(p[hdrCsumOffset:], offset)
		return p
	}
	for i, c := range []struct {
		header []byte
		want   bool
	}{
		{header(0, gsoNone, 0, 0, 0), true},
		{header(dataValid, gsoNone, 0, 0, 0), true},
		{header(needsCsum, gsoNone, 0, 34, 16), true},
		{header(needsCsum, gsoNone, 0, 82, 16), true},
		{header(needsCsum, gsoNone, 0, 83, 16), false}, // beyond the end
		{header(needsCsum, gsoNone, 0, 65535, 65535), false},
		{header(needsCsum, gsoNone, 0, 13, 16), false}, // in the Ethernet header
		{header(needsCsum, gsoTCPv4, 1448, 34, 16), true},
		{header(needsCsum, gsoTCPv4, 0, 34, 16), false},
		{header(0, gsoTCPv4, 1448, 34, 16), false}, // TSO needs the checksum
		{header(needsCsum, gsoTCPv4|0x80, 1448, 34, 16), false},
		{header(needsCsum, 3, 1448, 34, 6), false},  // UFO
		{header(needsCsum, 4, 1448, 54, 16), false}, // TCPv6
		{header(needsCsum, 5, 1448, 34, 6), false},  // USO
	} {
		if got := validSend(c.header, 100); got != c.want {
			t.Errorf("case %d: %v", i, got)
		}
	}
}

// TestReceiveRoom holds that a frame without room is dropped, and that the next one comes.
func TestReceiveRoom(t *testing.T) {
	p := newBackend(t, Config{}).Pair(0)
	p.Send([][]byte{echoRequest("10.0.2.2", "first")})
	p.Send([][]byte{echoRequest("10.0.2.3", "second")})
	small := make([]byte, prefixSize+header.IPv4MinimumSize+header.ICMPv4MinimumSize+4)
	if n, err := p.Receive([][]byte{small[:1], small[1:]}); !errors.Is(err, netif.ErrNoFrame) {
		t.Errorf("%d bytes, error %v", n, err)
	}
	p.Send([][]byte{echoRequest("10.0.2.3", "third")})
	if n := len(await(t, p)); n != etherSize+header.IPv4MinimumSize+header.ICMPv4MinimumSize+len("third") {
		t.Errorf("%d bytes", n)
	}
}

// TestQueueBound holds that a guest which takes no frames does not make the host keep more than the bound.
func TestQueueBound(t *testing.T) {
	b := newBackend(t, Config{})
	frame := echoRequest("10.0.2.2", string(make([]byte, 60000)))
	for range 1000 {
		b.pair.Send([][]byte{frame})
	}
	b.queue.mu.Lock()
	loose, n := b.queue.loose, b.queue.n
	b.queue.mu.Unlock()
	if loose > queueLoose || n == 0 {
		t.Errorf("%d bytes in %d frames", loose, n)
	}
	small := dhcpFrame()
	for range 2 * queueFrames {
		b.pair.Send([][]byte{small})
	}
	if b.queue.n > queueFrames {
		t.Errorf("%d frames", b.queue.n)
	}
}

func dhcpFrame() []byte { return clientFrame(anyAddr, clientMessage(dhcpDiscover)) }

// TestWait holds that Wait ends with its context, and at a frame.
func TestWait(t *testing.T) {
	p := newBackend(t, Config{}).Pair(0)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Wait(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	go func() { done <- p.Wait(context.Background()) }()
	p.Send([][]byte{dhcpFrame()})
	if err := <-done; err != nil {
		t.Errorf("error %v", err)
	}
}

// TestHold holds that a frame on hold does not end Wait before Release, nor after it when somebody has taken it, and that Release can end it by itself.
func TestHold(t *testing.T) {
	b := newBackend(t, Config{})
	p := b.Pair(0).(netif.Answerer)
	done := make(chan error, 1)
	wait := func() {
		go func() { done <- p.Wait(t.Context()) }()
		for { // until it sleeps, or will
			b.queue.mu.Lock()
			waiting := b.queue.waiting
			b.queue.mu.Unlock()
			if waiting {
				return
			}
			runtime.Gosched()
		}
	}
	sleeps := func(when string) {
		t.Helper()
		select {
		case <-done:
			t.Errorf("%s: Wait has ended", when)
		case <-time.After(20 * time.Millisecond):
		}
	}
	wait()
	p.Hold()
	p.Send([][]byte{dhcpFrame()})
	sleeps("on hold")
	if _, err := p.Receive([][]byte{make([]byte, netif.HeaderSize+netif.MaxFrame)}); err != nil {
		t.Fatal(err)
	}
	p.Release(false)
	sleeps("released without a frame")
	p.Hold()
	p.Release(true)
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.Hold()
	p.Release(true) // while nobody waits
	if err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wait()
	p.Hold()
	p.Send([][]byte{dhcpFrame()})
	p.Release(false)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHoldUnderLoad has frames put by two goroutines, of which one holds and takes what it may, and taken by a third, which waits for them. All of
// them arrive without anything else to wake it.
func TestHoldUnderLoad(t *testing.T) {
	const rounds = 5000
	b := newBackend(t, Config{})
	p := b.Pair(0).(netif.Answerer)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex // as the device has one around Receive
	var put, taken atomic.Int64
	give := func() bool {
		ok := b.queue.put(entry{frame: make([]byte, 60), loose: 60})
		if ok {
			put.Add(1)
		}
		return ok
	}
	buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
	take := func() bool {
		_, err := p.Receive([][]byte{buffer})
		if err == nil {
			taken.Add(1)
		}
		return err == nil
	}
	var givers, taker sync.WaitGroup
	deadline := time.Now().Add(time.Minute)
	givers.Go(func() {
		for range rounds {
			// A full queue says nothing but that the third has not had its turn.
			for !give() && time.Now().Before(deadline) {
				runtime.Gosched()
			}
		}
	})
	givers.Go(func() {
		for range rounds {
			p.Hold()
			give()
			took := false
			if mu.TryLock() {
				took = take()
				mu.Unlock()
			}
			p.Release(took)
		}
	})
	taker.Go(func() {
		for ctx.Err() == nil {
			mu.Lock()
			for take() {
			}
			mu.Unlock()
			p.Wait(ctx)
		}
	})
	givers.Wait()
	for taken.Load() != put.Load() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := taken.Load(); n != put.Load() || n < rounds {
		t.Errorf("%d frames of %d arrived", n, put.Load())
	}
	cancel()
	taker.Wait()
}

// FuzzFrame sends hostile frames in two segments, and takes the answers with a driver of few or many abilities.
func FuzzFrame(f *testing.F) {
	for _, p := range [][]byte{
		echoRequest("10.0.2.2", "x"), echoRequest("10.0.2.3", string(make([]byte, 3000))), dhcpFrame(),
		synFrame("10.0.2.2", 1), synFrame("10.0.2.3", 80), make([]byte, prefixSize+arpSize),
	} {
		f.Add(p, 1, true)
		f.Add(p, 20, false)
	}
	// Restricted, for a frame that chance makes must not reach anything else on the host.
	b := newBackend(f, Config{Restrict: true})
	buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
	f.Fuzz(func(t *testing.T, p []byte, cut int, able bool) {
		segments := [][]byte{p}
		if cut > 0 && cut < len(p) {
			segments = [][]byte{p[:cut], p[cut:]}
		}
		if err := b.pair.Send(segments); err != nil {
			t.Error(err)
		}
		var offloads netif.Offloads
		if able {
			offloads = allOffloads
		}
		b.Start(offloads)
		for {
			n, err := b.pair.Receive([][]byte{buffer[:100], buffer[100:]})
			if errors.Is(err, netif.ErrNoFrame) {
				return
			}
			if err != nil || n < prefixSize {
				t.Errorf("%d bytes, error %v", n, err)
			}
		}
	})
}
