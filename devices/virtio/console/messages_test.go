package console

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// TestMessagesAreBounded holds that a driver which takes no messages makes no more wait than one of each kind, and
// that they come in order once it does.
func TestMessagesAreBounded(t *testing.T) {
	g := guestWith(t, Config{}, ^virtio.FeatureEventIdx)
	for i := range uint16(20) {
		g.tell(portReady)
		g.device.Resize(i+1, 7)
	}
	g.giveControl(1)
	if got := g.hear(); got != consolePort {
		t.Errorf("the device says %x", got)
	}
	g.giveControl(1)
	for g.hear() != resize+"\x14\x00\x07\x00" {
		g.giveControl(1) // the device may learn of sizes one by one
	}
	g.giveControl(1)
	for {
		m := g.hear()
		if m == portOpen {
			break
		}
		if m != resize+"\x14\x00\x07\x00" {
			t.Fatalf("the device says %x", m)
		}
		g.giveControl(1)
	}
	g.tell(deviceReady)
	g.giveControl(1)
	if got := g.hear(); got != portAdd {
		t.Errorf("the device says %x", got)
	}
}

// TestStrangeMessages holds what each message makes of a handshake that has come half way.
func TestStrangeMessages(t *testing.T) {
	before := handshake{ready: true, open: true, pending: sendPortOpen}
	for name, tt := range map[string]struct {
		message string
		want    handshake
		warns   bool
	}{
		"nothing":              {"", before, true},
		"short":                {portClosed[:7], before, true},
		"longer":               {portClosed + "more", handshake{ready: true, pending: sendPortOpen}, false},
		"another port":         {"\x01" + portClosed[1:], before, true},
		"port of all ones":     {"\xff\xff\xff\xff" + portClosed[4:], before, true},
		"no event":             {"\x00\x00\x00\x00\x08\x00\x01\x00", before, true},
		"event in high byte":   {"\x00\x00\x00\x00\x06\x01\x00\x00", before, true},
		"the device's":         {consolePort, before, true},
		"open with high value": {"\x00\x00\x00\x00\x06\x00\x00\x01", before, false},
		"begins anew":          {deviceReady, handshake{pending: sendPortAdd}, false},
		"device failed":        {"\x00\x00\x00\x00\x00\x00\x00\x00", handshake{}, true},
		"port failed":          {"\x00\x00\x00\x00\x03\x00\x00\x00", handshake{}, true},
		"ready again":          {portReady, handshake{ready: true, open: true, pending: aboutReadyPorts}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			d := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
			d.control.handshake = before
			d.input.setOpen(true)
			for range 2 {
				d.obey([]byte(tt.message))
			}
			if h := d.control.handshake; h != tt.want || d.input.open != tt.want.open {
				t.Errorf("handshake %+v, input taken: %v", h, d.input.open)
			}
			if n := strings.Count(log.String(), "\n"); n > 1 || n == 1 != tt.warns {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

// TestSmallControlBuffers holds that a message waits for a buffer that has room for it.
func TestSmallControlBuffers(t *testing.T) {
	var log bytes.Buffer
	g := guestWith(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, ^virtio.FeatureEventIdx)
	g.tell(portReady)
	for _, step := range []struct {
		size uint32
		want string
	}{{7, ""}, {8, consolePort}, {11, ""}, {8, ""}, {12, unknownSize}, {8, portOpen}} {
		addr := g.Mem.Alloc(16, 1)
		g.Rings[controlReceiveQueue].Add(virtiotest.Buf{Addr: addr, Len: 5, Write: true},
			virtiotest.Buf{Addr: addr + 5, Len: step.size - 5, Write: true})
		g.Kick(controlReceiveQueue)
		u := g.Await(controlReceiveQueue)
		if got := string(g.Mem.Bytes(addr, uint64(u.Len))); got != step.want {
			t.Errorf("in a buffer of %d bytes the device says %x, want %x", step.size, got, step.want)
		}
	}
	g.Reset()
	if strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log %q", log.String())
	}
}

// TestBrokenControlQueue holds that the device finds it when it has a message.
func TestBrokenControlQueue(t *testing.T) {
	g := guestWith(t, Config{}, ^virtio.FeatureEventIdx)
	g.Rings[controlReceiveQueue].SetAvailIdx(1000)
	g.tell(deviceReady)
	g.AwaitNeedsReset()
	g.start()
	g.giveControl(controlQueueSize)
	g.open()
}

// TestControlDoesNotAllocate is about messages of both sides.
func TestControlDoesNotAllocate(t *testing.T) {
	d := New(Config{})
	p, ready := make([]byte, controlSize+resizeSize), []byte(portReady)
	n := testing.AllocsPerRun(100, func() {
		d.obey(ready)
		for d.control.waiting() {
			d.nextMessage(p, controlBuffer)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzControl sends a device the input as messages of the length that its first byte says, and takes those that wait
// after as many as its second says.
func FuzzControl(f *testing.F) {
	f.Add([]byte("\x08\x01" + deviceReady + portReady + portOpen))
	f.Add([]byte("\x08\x05" + portReady + portOpen + portClosed + "\x01" + portOpen[1:] + deviceReady))
	f.Add([]byte("\x05\x02" + deviceReady + portReady))
	f.Add([]byte("\x0c\x00" + unknownSize))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) < 2 {
			return
		}
		length, every, rest := int(input[0]), int(input[1]), input[2:]
		d := New(Config{})
		p := make([]byte, controlSize+resizeSize)
		for i := 1; len(rest) > 0; i++ {
			n := min(len(rest), max(1, length))
			d.obey(rest[:n])
			rest = rest[n:]
			h := d.control.handshake
			if !h.valid() || d.input.open != h.open {
				t.Fatalf("handshake %+v, input taken: %v", h, d.input.open)
			}
			saved, err := d.SaveState()
			if err == nil {
				err = New(Config{}).RestoreState(saved)
			}
			if err != nil {
				t.Fatal(err)
			}
			if every == 0 || i%every != 0 {
				continue
			}
			taken := 0
			for ; d.control.waiting(); taken++ {
				n, fits := d.nextMessage(p, controlSize+resizeSize)
				if m, err := parseControl(p[:n]); !fits || err != nil || m.port != 0 {
					t.Fatalf("message %x", p[:n])
				}
			}
			if taken > controlQueueSize {
				t.Fatalf("%d messages waited", taken)
			}
		}
	})
}
