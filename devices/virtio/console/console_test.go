package console

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

func request(mem *virtiotest.Memory, queue int) []virtiotest.Buf {
	if queue == receiveQueue || queue == controlReceiveQueue {
		return nil
	}
	return []virtiotest.Buf{{Addr: mem.Alloc(16, 1), Len: 16}}
}

func TestConformance(t *testing.T) {
	virtiotest.TestDevice(t, func(testing.TB) virtio.Device { return New(Config{}) }, virtiotest.Options{Request: request})
}

// A screen is an Out that remembers what was written, and in which pieces.
type screen struct {
	mu     sync.Mutex
	text   bytes.Buffer
	pieces []int
	err    error
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pieces = append(s.pieces, len(p))
	s.text.Write(p)
	return len(p), s.err
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A bell is an interrupt that two can wait for.
type bell struct {
	*virtiotest.IRQ
	rang chan struct{}
}

func (b bell) Trigger() error {
	signal(b.rang)
	return b.IRQ.Trigger()
}

// A guest is a device with a driver.
type guest struct {
	*virtiotest.MMIODriver
	t         testing.TB
	device    *Device
	transport *virtiommio.Transport
	ram       *watched
	rang      chan struct{}
	features  uint64 // that the driver accepts
}

// A watched memory calls write, if set, with each address that the device is to write to.
type watched struct {
	*virtiotest.Memory
	write func(addr uint64)
}

func (w *watched) WriteSlice(addr, n uint64) ([]byte, error) {
	if w.write != nil {
		w.write(addr)
	}
	return w.Memory.WriteSlice(addr, n)
}

// newGuest makes a guest whose driver has started. It knows nothing of control queues.
func newGuest(t testing.TB, cfg Config) *guest {
	t.Helper()
	return guestWith(t, cfg, ^(virtio.FeatureEventIdx | featureMultiport))
}

// guestWith makes a guest whose driver accepts these features and has set DRIVER_OK.
func guestWith(t testing.TB, cfg Config, features uint64) *guest {
	t.Helper()
	mem, irq := virtiotest.NewMemory(0x10000, 4<<20), virtiotest.NewIRQ()
	g := &guest{t: t, device: New(cfg), ram: &watched{Memory: mem}, rang: make(chan struct{}, 1), features: features}
	var err error
	g.transport, err = virtiommio.New(virtiommio.Config{Device: g.device, Memory: g.ram, IRQ: bell{irq, g.rang}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.transport.Close() })
	g.MMIODriver = virtiotest.NewDriver(t, g.transport, mem, irq)
	g.start()
	return g
}

func (g *guest) start() {
	g.t.Helper()
	g.Start(g.features, transmitQueueSize)
}

// text puts s into memory, in a segment for each of its parts.
func (g *guest) text(parts ...string) []virtiotest.Buf {
	var bufs []virtiotest.Buf
	for _, s := range parts {
		addr := g.Mem.Alloc(uint64(len(s)), 1)
		copy(g.Mem.Bytes(addr, uint64(len(s))), s)
		bufs = append(bufs, virtiotest.Buf{Addr: addr, Len: uint32(len(s))})
	}
	return bufs
}

// print sends a buffer and waits until the device has used it.
func (g *guest) print(bufs ...virtiotest.Buf) {
	g.t.Helper()
	g.Rings[transmitQueue].Add(bufs...)
	g.Kick(transmitQueue)
	if u := g.Await(transmitQueue); u.Len != 0 {
		g.t.Errorf("the device says that it wrote %d bytes", u.Len)
	}
}

func TestPrints(t *testing.T) {
	s := new(screen)
	g := newGuest(t, Config{Out: s})
	g.print(g.text("hello, ", "", "wor", "ld\n")...)
	g.print(g.text("\x00\x80\xff\x1b[0m")...)
	if got := s.String(); got != "hello, world\n\x00\x80\xff\x1b[0m" {
		t.Errorf("printed %q", got)
	}
}

// TestPrintsInOrder makes many buffers available at once, and pauses the device in between.
func TestPrintsInOrder(t *testing.T) {
	s := new(screen)
	g := newGuest(t, Config{Out: s})
	var want strings.Builder
	for range 20 {
		n := 0
		for ; n < 8; n++ {
			line := strings.Repeat(string(rune('a'+n)), 10) + "\n"
			want.WriteString(line)
			g.Rings[transmitQueue].Add(g.text(line)...)
		}
		g.Kick(transmitQueue)
		if err := g.transport.Pause(); err != nil {
			t.Fatal(err)
		}
		before := s.String()
		g.Notify(transmitQueue)
		if s.String() != before {
			t.Fatal("printed during a pause")
		}
		g.transport.Resume()
		for range n {
			g.Await(transmitQueue)
		}
	}
	if s.String() != want.String() {
		t.Error("printed something else")
	}
}

// TestPrintIsBounded names the same memory again and again.
func TestPrintIsBounded(t *testing.T) {
	var log bytes.Buffer
	s := new(screen)
	g := newGuest(t, Config{Out: s, Log: slog.New(slog.NewTextHandler(&log, nil))})
	const size = 100_000
	bufs := make([]virtiotest.Buf, transmitQueueSize)
	for i := range bufs {
		bufs[i] = virtiotest.Buf{Addr: g.Mem.Base(), Len: size}
	}
	g.print(bufs...)
	g.print(bufs...)
	g.Reset()
	if n := s.text.Len(); n != 2*maxOutput {
		t.Errorf("printed %d bytes", n)
	}
	for _, n := range s.pieces {
		if n == 0 || n > maxWrite {
			t.Errorf("a write of %d bytes", n)
		}
	}
	if strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log %q", log.String())
	}
}

func TestHostFails(t *testing.T) {
	var log bytes.Buffer
	g := newGuest(t, Config{Out: &screen{err: errors.New("paper jam")}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		g.print(g.text("one", "two")...)
	}
	g.Reset()
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "paper jam") {
		t.Errorf("log %q", log.String())
	}
}

// TestEmergencyWrite holds that each access to the field, and no other, prints its lower byte, also without a driver.
func TestEmergencyWrite(t *testing.T) {
	s := new(screen)
	d := New(Config{Out: s})
	for _, tt := range []struct {
		off  uint64
		p    []byte
		want string
	}{
		{8, []byte("x\x00\x00\x00"), "x"},
		{8, []byte("y"), "y"},
		{8, []byte("z1234567"), "z"},
		{4, []byte("1234v678"), "v"},
		{7, []byte("1w"), "w"},
		{9, []byte("no"), ""},
		{0, []byte("12345678"), ""},
		{7, []byte("n"), ""},
		{8, nil, ""},
		{math.MaxUint64, []byte("12345678"), ""},
		{math.MaxUint64 - 7, []byte("12345678"), ""},
	} {
		s.text.Reset()
		d.WriteConfig(tt.off, tt.p)
		if got := s.String(); got != tt.want {
			t.Errorf("%q at %#x prints %q", tt.p, tt.off, got)
		}
	}
	g := newGuest(t, Config{Out: s})
	g.Reset()
	s.text.Reset()
	g.Write32(virtiotest.RegConfig+configEmergencyWrite, 'e')
	if s.String() != "e" {
		t.Errorf("printed %q before there was a driver", s.String())
	}
}

func TestResize(t *testing.T) {
	g := newGuest(t, Config{})
	size := func() [2]uint16 {
		p := g.ReadConfig(0, configSize)
		if !bytes.Equal(p[4:], []byte{1, 0, 0, 0, 0, 0, 0, 0}) {
			t.Errorf("configuration space %x", p)
		}
		return [2]uint16{binary.LittleEndian.Uint16(p), binary.LittleEndian.Uint16(p[2:])}
	}
	if got := size(); got != [2]uint16{} {
		t.Errorf("size %d before it was set", got)
	}
	for _, want := range [][2]uint16{{80, 25}, {80, 50}, {65535, 1}} {
		g.device.Resize(want[0], want[1])
		g.awaitConfigChange()
		if got := size(); got != want {
			t.Errorf("size %d, want %d", got, want)
		}
	}
	// Changes during a pause are told after it.
	g.transport.Pause()
	g.device.Resize(1, 2)
	g.transport.Resume()
	g.awaitConfigChange()
	g.transport.Pause()
	g.device.Resize(1, 2)
	if len(g.device.resized) != 0 {
		t.Error("the same size is a change")
	}
}

// awaitConfigChange waits for a configuration change notification.
func (g *guest) awaitConfigChange() {
	g.t.Helper()
	for g.Read32(virtiotest.RegInterruptStatus)&2 == 0 {
		<-g.rang
	}
	g.Write32(virtiotest.RegInterruptACK, 2)
}

// FuzzOutput prints the input in segments of the length that its first byte says, and writes it to the
// configuration space at the place that its second says.
func FuzzOutput(f *testing.F) {
	f.Add([]byte{1, 8, 'h', 'e', 'l', 'l', 'o'})
	f.Add([]byte{3, 5, 0x1b, '[', 0xff, 0, 'm'})
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) < 2 || len(input) > 1<<12 {
			return
		}
		s := new(screen)
		d := New(Config{Out: s})
		size, off := max(1, int(input[0])), uint64(input[1])
		text := input[2:]
		var segments [][]byte
		for rest := text; len(rest) > 0; {
			n := min(len(rest), size)
			segments = append(segments, rest[:n])
			rest = rest[n:]
		}
		d.print(segments)
		want := string(text)
		d.WriteConfig(off, text)
		if off <= configEmergencyWrite && off+uint64(len(text)) > configEmergencyWrite {
			want += string(text[configEmergencyWrite-off:][:1])
		}
		if s.String() != want {
			t.Errorf("printed %q, want %q", s.String(), want)
		}
	})
}
