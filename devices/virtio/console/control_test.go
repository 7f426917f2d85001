package console

import (
	"encoding/binary"
	"runtime"
	"strings"
	"sync"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

const controlBuffer = 64 // bytes of each buffer for the device's messages

// newPortGuest makes a guest with VIRTIO_CONSOLE_F_MULTIPORT whose driver has started and given buffers for messages, and has
// said nothing yet.
func newPortGuest(t testing.TB, cfg Config) *guest {
	t.Helper()
	g := guestWith(t, cfg, ^virtio.FeatureEventIdx)
	g.giveControl(controlQueueSize)
	return g
}

// giveControl makes n buffers for messages available.
func (g *guest) giveControl(n int) {
	for range n {
		addr := g.Mem.Alloc(controlBuffer, 8)
		g.Rings[controlReceiveQueue].Add(virtiotest.Buf{Addr: addr, Len: controlBuffer, Write: true})
	}
	g.Kick(controlReceiveQueue)
}

// hear returns the next message of the device.
func (g *guest) hear() string {
	g.t.Helper()
	u := g.Await(controlReceiveQueue)
	r := g.Rings[controlReceiveQueue]
	desc := g.Mem.Bytes(r.Desc+16*uint64(u.ID), 16)
	return string(g.Mem.Bytes(binary.LittleEndian.Uint64(desc), uint64(u.Len)))
}

// expect is hear of these messages, for each of which it makes a new buffer available.
func (g *guest) expect(want ...string) {
	g.t.Helper()
	for _, w := range want {
		if got := g.hear(); got != w {
			g.t.Errorf("the device says %x, want %x", got, w)
		}
		g.giveControl(1)
	}
}

// tell sends the device a message and waits until it has taken it.
func (g *guest) tell(message string) {
	g.t.Helper()
	g.Rings[controlTransmitQueue].Add(g.text(message)...)
	g.Kick(controlTransmitQueue)
	if u := g.Await(controlTransmitQueue); u.Len != 0 {
		g.t.Errorf("the device says that it wrote %d bytes", u.Len)
	}
}

// The messages of either side, byte for byte.
const (
	deviceReady = "\xff\xff\xff\xff\x00\x00\x01\x00" // Linux puts the number of no port into it
	portAdd     = "\x00\x00\x00\x00\x01\x00\x01\x00"
	portReady   = "\x00\x00\x00\x00\x03\x00\x01\x00"
	consolePort = "\x00\x00\x00\x00\x04\x00\x01\x00"
	resize      = "\x00\x00\x00\x00\x05\x00\x00\x00"
	portOpen    = "\x00\x00\x00\x00\x06\x00\x01\x00"
	portClosed  = "\x00\x00\x00\x00\x06\x00\x00\x00"

	unknownSize = resize + "\x00\x00\x00\x00"
)

// open does the handshake as Linux does.
func (g *guest) open() {
	g.t.Helper()
	g.tell(deviceReady)
	g.expect(portAdd)
	g.tell(portReady)
	g.expect(consolePort)
	g.tell(portOpen)
}

// TestHandshake is about what Linux needs: that input which waits at DRIVER_OK is given when the driver has
// opened the port, and not before. The size is columns before rows.
func TestHandshake(t *testing.T) {
	g := newPortGuest(t, Config{})
	g.device.Resize(0x0150, 0x0219)
	g.awaitConfigChange()
	done := g.receive(t.Context(), "early")
	addr := g.give(100)
	for _, step := range []struct {
		say    string
		answer []string
	}{
		{deviceReady, []string{portAdd}},
		{portReady, []string{consolePort, resize + "\x50\x01\x19\x02", portOpen}},
	} {
		g.tell(step.say)
		g.expect(step.answer...)
		g.pauseResume()
		if n := g.Rings[receiveQueue].UsedIdx(); n != 0 {
			t.Fatalf("%d buffers used after %x: the driver has not opened the port", n, step.say)
		}
	}
	g.tell(portOpen)
	if got := g.take(addr); got != "early" {
		t.Errorf("received %q", got)
	}
	if r := <-done; r.n != 5 || r.err != nil {
		t.Errorf("Receive: %+v", r)
	}
}

func (g *guest) pauseResume() {
	g.t.Helper()
	if err := g.transport.Pause(); err != nil {
		g.t.Fatal(err)
	}
	if err := g.transport.Resume(); err != nil {
		g.t.Fatal(err)
	}
}

// TestPortClosed holds that a driver that closes the port gets no input from then on, until it opens it.
func TestPortClosed(t *testing.T) {
	g := newPortGuest(t, Config{})
	g.open()
	g.tell(portClosed)
	addr := g.give(100)
	done := g.receive(t.Context(), "later")
	for !g.device.input.waiting() {
		runtime.Gosched()
	}
	if g.device.input.ready() {
		t.Error("the device looks for buffers of a closed port")
	}
	g.pauseResume()
	if n := g.Rings[receiveQueue].UsedIdx(); n != 0 {
		t.Fatal("a closed port was given input")
	}
	g.tell(portOpen)
	if got := g.take(addr); got != "later" {
		t.Errorf("received %q", got)
	}
	<-done
}

// TestPortClosedAtTheLastMoment closes the port while the device takes a buffer: it stays the guest's.
func TestPortClosedAtTheLastMoment(t *testing.T) {
	g := newPortGuest(t, Config{})
	g.open()
	addr := g.give(100)
	closed := make(chan struct{})
	var once sync.Once
	g.ram.write = func(a uint64) {
		if a == addr {
			once.Do(func() {
				g.device.obey([]byte(portClosed))
				close(closed)
			})
		}
	}
	done := g.receive(t.Context(), "kept")
	<-closed
	g.pauseResume()
	if n := g.Rings[receiveQueue].UsedIdx(); n != 0 {
		t.Fatal("a closed port was given input")
	}
	g.tell(portOpen)
	if got := g.take(addr); got != "kept" {
		t.Errorf("received %q", got)
	}
	<-done
}

// TestResizeOfPort holds that the last size comes by message, and that the configuration space has it.
func TestResizeOfPort(t *testing.T) {
	g := newPortGuest(t, Config{})
	g.device.Resize(1, 1) // before the driver knows the port, so it learns of it later
	g.awaitConfigChange()
	g.open()
	g.expect(resize+"\x01\x00\x01\x00", portOpen)
	for i := range uint16(100) {
		g.device.Resize(80, i+1)
	}
	for {
		m := g.hear()
		g.giveControl(1)
		if !strings.HasPrefix(m, resize+"\x50\x00") {
			t.Fatalf("the device says %x", m)
		}
		if m[10:] == "\x64\x00" {
			break
		}
	}
	if p := g.ReadConfig(0, 4); string(p) != "\x50\x00\x64\x00" {
		t.Errorf("configuration space %x", p)
	}
}

// TestHibernation starts a driver that knows the port, as Linux does after hibernation: it does not ask for ports.
func TestHibernation(t *testing.T) {
	g := newPortGuest(t, Config{})
	g.open()
	g.expect(unknownSize, portOpen)
	g.start()
	g.giveControl(controlQueueSize)
	done := g.receive(t.Context(), "awake")
	addr := g.give(10)
	g.tell(portReady)
	g.expect(consolePort, unknownSize, portOpen)
	if n := g.Rings[receiveQueue].UsedIdx(); n != 0 {
		t.Error("input was given before the driver has opened the port")
	}
	g.tell(portOpen)
	if got := g.take(addr); got != "awake" {
		t.Errorf("received %q", got)
	}
	<-done
}

// TestNextDriver holds that a driver has nothing of the handshake of the one before it.
func TestNextDriver(t *testing.T) {
	g := newPortGuest(t, Config{})
	g.open()
	g.start()
	done := g.receive(t.Context(), "next")
	addr := g.give(10)
	g.giveControl(controlQueueSize)
	g.tell(deviceReady)
	g.expect(portAdd)
	if n := g.Rings[receiveQueue].UsedIdx(); n != 0 {
		t.Error("input was given before the driver has opened the port")
	}
	// One without the feature has no port to open, and what it says is not heard.
	g.features &^= featureMultiport
	g.start()
	addr = g.give(10)
	if got := g.take(addr); got != "next" {
		t.Errorf("received %q", got)
	}
	<-done
	g.tell(portClosed)
	addr = g.give(10)
	done = g.receive(t.Context(), "more")
	if got := g.take(addr); got != "more" {
		t.Errorf("received %q", got)
	}
	<-done
	g.transport.Pause()
	if h := g.device.control.handshake; h != (handshake{}) {
		t.Errorf("handshake %+v", h)
	}
}
