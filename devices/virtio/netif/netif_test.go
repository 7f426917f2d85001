package netif

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// A wire is a Backend at whose other end the test is. With echo, what is sent on a pair comes back on it.
type wire struct {
	info Info
	echo bool

	mu      sync.Mutex
	started []Offloads
	used    []int
	refuse  error // for Start
	ports   []*port
}

func newWire(info Info) *wire {
	w := &wire{info: info}
	for range info.Pairs {
		w.ports = append(w.ports, &port{wire: w, ready: make(chan struct{}, 1), sent: make(chan []byte, 256)})
	}
	return w
}

// everything is what a backend can have.
var everything = Info{Send: Checksum | TSO4 | TSO6, Receive: Checksum | TSO4 | TSO6, MTU: 1500, Pairs: 3}

func (w *wire) Info() Info      { return w.info }
func (w *wire) Pair(i int) Pair { return w.ports[i] }

func (w *wire) Start(o Offloads) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	w.started = append(w.started, o)
	return nil
}

func (w *wire) UsePairs(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used = append(w.used, n)
	return nil
}

// last returns what the device has said last.
func (w *wire) last() (Offloads, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.started[len(w.started)-1], w.used[len(w.used)-1]
}

type port struct {
	wire  *wire
	ready chan struct{}
	sent  chan []byte // what the guest has sent, without echo

	mu     sync.Mutex
	queue  [][]byte // for the guest
	failed error
	fails  int // how often Receive has failed
}

// give makes frame, with a header before it, wait for the guest.
func (p *port) give(frame []byte) {
	p.mu.Lock()
	p.queue = append(p.queue, frame)
	p.mu.Unlock()
	p.wake()
}

func (p *port) fail(err error) {
	p.mu.Lock()
	p.failed = err
	p.mu.Unlock()
	p.wake()
}

// await returns when f is true, which it becomes without further help.
func (p *port) await(f func(*port) bool) {
	for {
		p.mu.Lock()
		ok := f(p)
		p.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *port) wake() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

func (p *port) Send(frame [][]byte) error {
	p.mu.Lock()
	err := p.failed
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if all := bytes.Join(frame, nil); p.wire.echo {
		p.give(all)
	} else {
		p.sent <- all
	}
	return nil
}

func (p *port) Receive(buffer [][]byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room := 0
	for _, s := range buffer {
		room += len(s)
	}
	for len(p.queue) > 0 && p.failed == nil {
		frame := p.queue[0]
		if p.queue = p.queue[1:]; len(frame) > room {
			continue
		}
		n := len(frame)
		for _, s := range buffer {
			frame = frame[copy(s, frame):]
		}
		return n, nil
	}
	if p.failed != nil {
		p.fails++
		return 0, p.failed
	}
	return 0, ErrNoFrame
}

func (p *port) Wait(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var testMAC = MAC{2, 0, 0, 0, 0, 1}

func newDevice(t testing.TB, cfg Config) *Device {
	t.Helper()
	if cfg.MAC == (MAC{}) {
		cfg.MAC = testMAC
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A guest is a driver of a device with a wire.
type guest struct {
	*virtiotest.MMIODriver
	t         *testing.T
	device    *Device
	wire      *wire
	transport *virtiommio.Transport
}

// newGuest starts a driver that negotiates those of features that the device has, with rings of size descriptors. The wire is the backend if cfg
// has none.
func newGuest(t *testing.T, w *wire, cfg Config, features uint64, size uint16) *guest {
	t.Helper()
	if cfg.Backend == nil {
		cfg.Backend = w
	}
	mem, irq := virtiotest.NewMemory(0x10000, 4<<20), virtiotest.NewIRQ()
	g := &guest{t: t, device: newDevice(t, cfg), wire: w}
	var err error
	if g.transport, err = virtiommio.New(virtiommio.Config{Device: g.device, Memory: mem, IRQ: irq}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.transport.Close() })
	g.MMIODriver = virtiotest.NewDriver(t, g.transport, mem, irq)
	g.Start(features, size)
	return g
}

// A buffer is what a chain given for receiving consists of.
type buffer struct {
	g    *guest
	addr uint64
	size int
}

func (b buffer) bytes() []byte { return b.g.Mem.Bytes(b.addr, uint64(b.size)) }

// supply gives the receive queue of a pair buffers of the sizes, each in segments of at most seg bytes.
func (g *guest) supply(pair, seg int, sizes ...int) map[uint32]buffer {
	buffers := map[uint32]buffer{}
	for _, size := range sizes {
		b := buffer{g, g.Mem.Alloc(uint64(size), 4), size}
		buffers[uint32(g.Rings[2*pair].Add(cut(b.addr, size, seg, true)...))] = b
	}
	g.Notify(2 * pair)
	return buffers
}

// cut describes n bytes at addr as segments of at most seg bytes.
func cut(addr uint64, n, seg int, write bool) (bufs []virtiotest.Buf) {
	for n > 0 {
		k := min(n, seg)
		bufs = append(bufs, virtiotest.Buf{Addr: addr, Len: uint32(k), Write: write})
		addr, n = addr+uint64(k), n-k
	}
	return bufs
}

// receive returns the next frame, with its header, and in how many buffers it was. They must all be there at once.
func (g *guest) receive(pair int, buffers map[uint32]buffer) ([]byte, int) {
	g.t.Helper()
	u := g.Await(2 * pair)
	b := buffers[u.ID].bytes()
	frame := append([]byte(nil), b[:u.Len]...)
	n := int(binary.LittleEndian.Uint16(b[headerNumBuffers:]))
	for i := 1; i < n; i++ {
		u, ok := g.Rings[2*pair].Reap()
		if !ok {
			g.t.Fatalf("buffer %d of %d is missing", i+1, n)
		}
		frame = append(frame, buffers[u.ID].bytes()[:u.Len]...)
	}
	return frame, n
}

// nothing checks that no buffer was used.
func (g *guest) nothing(queue int) {
	g.t.Helper()
	if u, ok := g.Rings[queue].Reap(); ok {
		g.t.Errorf("queue %d: used %v", queue, u)
	}
}

// send sends n bytes, header and all, in segments of at most seg bytes, and awaits them.
func (g *guest) send(pair int, p []byte, seg int) {
	g.t.Helper()
	addr := g.Mem.Alloc(uint64(len(p)), 4)
	copy(g.Mem.Bytes(addr, uint64(len(p))), p)
	g.Rings[2*pair+1].Add(cut(addr, len(p), seg, false)...)
	g.Kick(2*pair + 1)
	if u := g.Await(2*pair + 1); u.Len != 0 {
		g.t.Errorf("transmit: used length %d", u.Len)
	}
}

// frame is a header of zeroes and n bytes that no other frame has.
func frame(seed byte, n int) []byte {
	p := make([]byte, HeaderSize+n)
	for i := range p[HeaderSize:] {
		p[HeaderSize+i] = seed + byte(i*7)
	}
	return p
}

// sameFrame compares all but num_buffers.
func sameFrame(a, b []byte) bool {
	return len(a) == len(b) && bytes.Equal(a[:headerNumBuffers], b[:headerNumBuffers]) && bytes.Equal(a[HeaderSize:], b[HeaderSize:])
}

func TestConformance(t *testing.T) {
	echo := func() Backend {
		w := newWire(everything)
		w.echo = true
		return w
	}
	for name, test := range map[string]struct {
		pairs   int
		backend func() Backend
	}{
		"one pair":    {1, echo},
		"three pairs": {3, echo},
		"answerer":    {1, func() Backend { return newAnsweringWire() }},
	} {
		t.Run(name, func(t *testing.T) {
			request := func(mem *virtiotest.Memory, queue int) []virtiotest.Buf {
				switch {
				case queue == 1:
					return []virtiotest.Buf{{Addr: mem.Alloc(12, 8), Len: 12}, {Addr: mem.Alloc(60, 8), Len: 60}}
				case queue == 2 && test.pairs == 1:
					return []virtiotest.Buf{{Addr: mem.Alloc(3, 8), Len: 3}, {Addr: mem.Alloc(1, 8), Len: 1, Write: true}}
				}
				// A receive queue has nothing to give, and what the others do depends on what was negotiated.
				return nil
			}
			virtiotest.TestDevice(t, func(t testing.TB) virtio.Device {
				return newDevice(t, Config{Backend: test.backend(), Pairs: test.pairs})
			}, virtiotest.Options{Request: request})
		})
	}
}

func TestFeaturesAreTheBackends(t *testing.T) {
	const always = featureMAC | featureMergeable | featureStatus | featureCtrlQueue | featureCtrlRx | featureCtrlMAC
	for _, test := range []struct {
		info  Info
		pairs int
		want  uint64
	}{
		{Info{Pairs: 1}, 0, always},
		{Info{Pairs: 4}, 1, always},
		{Info{Pairs: 4}, 4, always | featureMultiqueue},
		{Info{Pairs: 1, MTU: 1280}, 1, always | featureMTU},
		{Info{Pairs: 1, Send: Checksum}, 1, always | featureChecksum},
		{Info{Pairs: 1, Send: TSO4 | TSO6}, 1, always},
		{Info{Pairs: 1, Send: Checksum | TSO4 | TSO6}, 1, always | featureChecksum | featureHostTSO4 | featureHostTSO6},
		{Info{Pairs: 1, Receive: Checksum | TSO6}, 1, always | featureGuestChecksum | featureGuestTSO6 | featureCtrlGuestOffloads},
	} {
		d := newDevice(t, Config{Backend: newWire(test.info), Pairs: test.pairs})
		if got := d.Features(); got != test.want {
			t.Errorf("%+v, %d pairs: features %#x, want %#x", test.info, test.pairs, got, test.want)
		}
		if n := len(d.QueueSizes()); n != 2*max(test.pairs, 1)+1 {
			t.Errorf("%d queues", n)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWire(everything)
	for name, cfg := range map[string]Config{
		"no backend":           {MAC: testMAC},
		"no MAC":               {Backend: w},
		"group address":        {Backend: w, MAC: MAC{1, 2, 3, 4, 5, 6}},
		"queue size 8":         {Backend: w, MAC: testMAC, QueueSize: 8},
		"queue size 100":       {Backend: w, MAC: testMAC, QueueSize: 100},
		"queue size 2048":      {Backend: w, MAC: testMAC, QueueSize: 2048},
		"-1 pairs":             {Backend: w, MAC: testMAC, Pairs: -1},
		"more pairs":           {Backend: w, MAC: testMAC, Pairs: 4},
		"33 pairs":             {Backend: newWire(Info{Pairs: 40}), MAC: testMAC, Pairs: 33},
		"a backend of nothing": {Backend: newWire(Info{}), MAC: testMAC},
		"an MTU of 60":         {Backend: newWire(Info{Pairs: 1, MTU: 60}), MAC: testMAC},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConfigSpace(t *testing.T) {
	d := newDevice(t, Config{Backend: newWire(everything), Pairs: 3})
	p := make([]byte, 16)
	if d.ReadConfig(0, p); !bytes.Equal(p, []byte{2, 0, 0, 0, 0, 1, 1, 0, 3, 0, 0xdc, 5, 0, 0, 0, 0}) {
		t.Errorf("configuration space %x", p)
	}
}

func TestMAC(t *testing.T) {
	seen := map[MAC]bool{}
	for _, name := range []string{"", "a", "b", "ab"} {
		for n := range 20 {
			m := DeriveMAC(name, n)
			if m != DeriveMAC(name, n) || !m.individual() || m[0]&localBit == 0 || seen[m] {
				t.Errorf("address %v of %q, %d", m, name, n)
			}
			seen[m] = true
			if back, err := ParseMAC(m.String()); err != nil || back != m {
				t.Errorf("%v, %v", back, err)
			}
		}
	}
	if m, err := ParseMAC("AA:bb:0C:00:00:fF"); err != nil || m != (MAC{0xaa, 0xbb, 0xc, 0, 0, 0xff}) {
		t.Errorf("%v, %v", m, err)
	}
	for _, s := range []string{"", "02:00:00:00:00:0", "02-00-00-00-00-01", "02:00:00:00:00:0g", "02:00:00:00:00:001", "+2:00:00:00:00:01", "0200:00:00:00::01"} {
		if m, err := ParseMAC(s); err == nil {
			t.Errorf("%q is %v", s, m)
		}
	}
}

func FuzzParseMAC(f *testing.F) {
	f.Add("02:00:00:00:00:01")
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMAC(s); err == nil {
			if again, err := ParseMAC(m.String()); err != nil || again != m {
				t.Errorf("%q is %v, and that is %v, %v", s, m, again, err)
			}
		}
	})
}
