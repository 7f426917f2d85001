package balloon

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
	"govmm/machine/memory"
)

// A log of discarded windows; err is what Discard returns.
type discards struct {
	mu    sync.Mutex
	sizes []int
	err   error
}

func (d *discards) Discard(window []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes = append(d.sizes, len(window))
	return d.err
}

func newDevice(t testing.TB, cfg Config) *Device {
	t.Helper()
	if cfg.Memory == nil {
		cfg.Memory = new(discards)
	}
	return New(cfg)
}

// request is for the queues that every driver has: an array of two pages.
func request(mem *virtiotest.Memory, queue int) []virtiotest.Buf {
	if queue > deflateQueue {
		return nil
	}
	addr := mem.Alloc(2*pfnSize, pfnSize)
	binary.LittleEndian.PutUint32(mem.Bytes(addr, 4), 0x11)
	binary.LittleEndian.PutUint32(mem.Bytes(addr+4, 4), 0x12)
	return []virtiotest.Buf{{Addr: addr, Len: 2 * pfnSize}}
}

func TestConformance(t *testing.T) {
	virtiotest.TestDevice(t, func(t testing.TB) virtio.Device { return newDevice(t, Config{}) }, virtiotest.Options{Request: request})
}

const (
	ramBase = 1 << 30
	ramSize = 64 << 20
	ramPFN  = ramBase / PageSize
)

// A guest is a machine's RAM, with a driver whose rings lie elsewhere, so that it is known what of the RAM
// is touched.
type guest struct {
	*virtiotest.MMIODriver
	t         *testing.T
	device    *Device
	ram       *memory.Memory
	transport *virtiommio.Transport
	rang      chan struct{}
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

type split struct {
	*virtiotest.Memory
	ram *memory.Memory
}

func (s split) Discard(window []byte) error { return s.ram.Discard(window) }

func (s split) ReadSlice(addr, n uint64) ([]byte, error) { return s.WriteSlice(addr, n) }

func (s split) WriteSlice(addr, n uint64) ([]byte, error) {
	if addr >= ramBase {
		return s.ram.WriteSlice(addr, n)
	}
	return s.Memory.WriteSlice(addr, n)
}

// newGuest makes a guest whose driver has not started.
func newGuest(t *testing.T) *guest {
	t.Helper()
	ram, err := memory.New([]memory.Range{{Base: ramBase, Size: ramSize}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	g := &guest{t: t, ram: ram, device: New(Config{}), rang: make(chan struct{}, 1)}
	mem, irq := virtiotest.NewMemory(0x10000, 1<<20), virtiotest.NewIRQ()
	g.transport, err = virtiommio.New(virtiommio.Config{Device: g.device, Memory: split{mem, ram}, IRQ: bell{irq, g.rang}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.transport.Close() })
	g.MMIODriver = virtiotest.NewDriver(t, g.transport, mem, irq)
	return g
}

// start starts a driver with the given features that enables the given queues.
func (g *guest) start(features uint64, queues ...int) {
	g.t.Helper()
	if !g.Negotiate(features | virtio.FeatureVersion1) {
		g.t.Fatalf("features %#x are not accepted", features)
	}
	for _, i := range queues {
		g.SetupQueue(i, virtiotest.NewRing(g.Mem, queueSize, false))
	}
	g.AddStatus(virtio.StatusDriverOK)
}

// touch makes n bytes of RAM from off on resident, and holds that they are.
func (g *guest) touch(off, n uint64) {
	g.t.Helper()
	before := g.resident()
	p, err := g.ram.WriteSlice(ramBase+off, n)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := uint64(0); i < n; i += PageSize {
		p[i] = 1
	}
	if got := g.resident(); got < before+n {
		g.t.Fatalf("%d bytes are resident after touching %d", got, n)
	}
}

func (g *guest) resident() uint64 {
	g.t.Helper()
	n, err := g.ram.Resident()
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

// do sends one chain and waits for it.
func (g *guest) do(queue int, bufs ...virtiotest.Buf) {
	g.t.Helper()
	g.Rings[queue].Add(bufs...)
	g.Kick(queue)
	if u := g.Await(queue); u.Len != 0 {
		g.t.Errorf("the device says that it wrote %d bytes", u.Len)
	}
}

// pfns puts an array of page frame numbers into memory.
func pfns(mem *virtiotest.Memory, numbers ...uint32) virtiotest.Buf {
	addr := mem.Alloc(uint64(len(numbers))*pfnSize, pfnSize)
	for i, n := range numbers {
		binary.LittleEndian.PutUint32(mem.Bytes(addr+uint64(i)*pfnSize, pfnSize), n)
	}
	return virtiotest.Buf{Addr: addr, Len: uint32(len(numbers) * pfnSize)}
}

// TestInflateGivesMemoryBack touches RAM, inflates a part of it, and asks the host what is left.
func TestInflateGivesMemoryBack(t *testing.T) {
	g := newGuest(t)
	g.start(0, inflateQueue, deflateQueue)
	const touched, inflated = 4 << 20, 256 * PageSize
	g.touch(0, touched)
	before := g.resident()
	var pages []uint32
	for i := range uint32(256) {
		pages = append(pages, ramPFN+512+i)
	}
	g.do(inflateQueue, pfns(g.Mem, pages...))
	if got := g.resident(); got != before-inflated {
		t.Errorf("%d bytes are resident, %d were before", got, before)
	}
	// A page that the guest touches, or takes out, is there again.
	g.touch(512*PageSize, PageSize)
	g.do(deflateQueue, pfns(g.Mem, pages...))
	g.touch(513*PageSize, PageSize)
}

// TestReportGivesMemoryBack does it for each numbering of the queues that drivers have.
func TestReportGivesMemoryBack(t *testing.T) {
	for name, tt := range map[string]struct {
		features uint64
		queues   []int
	}{
		"as specified":                     {featureStats | featureReporting, []int{0, 1, 2, 4}},
		"as specified, without statistics": {featureReporting, []int{0, 1, 4}},
		"as Linux":                         {featureStats | featureReporting, []int{0, 1, 2, 3}},
		"as Linux, without statistics":     {featureReporting, []int{0, 1, 2}},
		"alone":                            {featureReporting, []int{4}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t)
			g.start(tt.features, tt.queues...)
			g.touch(0, 16<<20)
			before := g.resident()
			g.do(tt.queues[len(tt.queues)-1],
				virtiotest.Buf{Addr: ramBase, Len: 4 << 20, Write: true},
				virtiotest.Buf{Addr: ramBase + 8<<20, Len: 2 << 20, Write: true})
			if got := g.resident(); got != before-6<<20 {
				t.Errorf("%d bytes are resident, %d were before", got, before)
			}
		})
	}
}

// TestReportOfAnyShape holds that nothing but whole writable pages of RAM goes, and that the device serves on.
func TestReportOfAnyShape(t *testing.T) {
	g := newGuest(t)
	g.start(featureReporting, 4)
	g.touch(0, 1<<20)
	before := g.resident()
	whole := virtiotest.Buf{Addr: ramBase, Len: ramSize, Write: true}
	for _, bufs := range [][]virtiotest.Buf{
		{{Addr: ramBase, Len: 4096}},
		{{Addr: ramBase + 1, Len: 4096, Write: true}},
		{{Addr: ramBase + 100, Len: 1, Write: true}},
		{{Addr: ramBase, Len: 0, Write: true}},
		{{Addr: g.Mem.Base(), Len: 4096, Write: true}}, // not the machine's
	} {
		g.do(4, bufs...)
	}
	if got := g.resident(); got != before {
		t.Errorf("%d bytes are resident, %d were before", got, before)
	}
	many := make([]virtiotest.Buf, 32)
	for i := range many {
		many[i] = whole
	}
	g.do(4, many...) // 2 GiB, all of it the same
	if got := g.resident(); got != 0 {
		t.Errorf("%d bytes are resident after all was reported", got)
	}
}

// TestReportNotNegotiated holds that a driver that did not negotiate reporting loses nothing.
func TestReportNotNegotiated(t *testing.T) {
	g := newGuest(t)
	g.start(0, 0, 1, 2, 3, 4)
	g.touch(0, 1<<20)
	before := g.resident()
	for _, i := range []int{2, 3, 4} {
		g.Rings[i].Add(virtiotest.Buf{Addr: ramBase, Len: 1 << 20, Write: true})
		g.Kick(i)
	}
	g.do(inflateQueue, pfns(g.Mem, 0))
	g.Reset()
	if got := g.resident(); got != before {
		t.Errorf("%d bytes are resident, %d were before", got, before)
	}
}

// TestBrokenReportingQueue holds that an error of any queue ends Run for all.
func TestBrokenReportingQueue(t *testing.T) {
	g := newGuest(t)
	g.start(featureReporting|featureStats, 0, 1, 2, 3)
	g.Rings[3].SetAvailIdx(queueSize + 1)
	g.Notify(3)
	g.AwaitNeedsReset()
	g.start(featureReporting, 0, 1, 4)
	g.do(4, virtiotest.Buf{Addr: ramBase, Len: 4096, Write: true})
}

func TestTargetReachesTheDriver(t *testing.T) {
	g := newGuest(t)
	if err := g.device.SetTarget(5*PageSize + 1); err != nil {
		t.Fatal(err)
	}
	g.start(0, 0, 1)
	target := func() uint32 { return binary.LittleEndian.Uint32(g.ReadConfig(configNumPages, 4)) }
	if n := target(); n != 5 || g.device.Target() != 5*PageSize {
		t.Errorf("target %d pages", n)
	}
	// The change while no driver was there may be told, too. Take it away.
	g.transport.Pause()
	g.Write32(virtiotest.RegInterruptACK, 3)
	g.transport.Resume()
	if err := g.device.SetTarget(1 << 30); err != nil {
		t.Fatal(err)
	}
	awaitConfigChange(g)
	if n := target(); n != 1<<18 {
		t.Errorf("target %d pages", n)
	}
	if err := g.device.SetTarget(1 << 44); err == nil {
		t.Error("a target of 16 TiB is accepted")
	}
	if err := g.device.SetTarget(1<<44 - 1); err != nil {
		t.Error(err)
	}
	for i, v := range []byte{0x44, 0x33, 0x22, 0x11} {
		g.Handler().Write(uint64(virtiotest.RegConfig+configActual+i), []byte{v})
	}
	if got := g.device.Actual(); got != 0x11223344*PageSize {
		t.Errorf("actual %#x", got)
	}
}

// awaitConfigChange waits for a configuration change notification.
func awaitConfigChange(g *guest) {
	g.t.Helper()
	for g.Read32(virtiotest.RegInterruptStatus)&2 == 0 {
		<-g.rang
	}
	g.Write32(virtiotest.RegInterruptACK, 2)
}

func TestWriteConfig(t *testing.T) {
	for _, tt := range []struct {
		off  uint64
		p    []byte
		want uint32
	}{
		{4, []byte{1, 2, 3, 4}, 0x04030201},
		{4, []byte{1}, 0xaaaaaa01},
		{6, []byte{1, 2}, 0x0201aaaa},
		{0, []byte{9, 9, 9, 9, 1, 2, 3, 4}, 0x04030201},
		{7, []byte{5, 6, 7, 8}, 0x05aaaaaa},
		{0, []byte{1, 2, 3, 4}, 0xaaaaaaaa},
		{8, []byte{1, 2, 3, 4}, 0xaaaaaaaa},
		{math.MaxUint64, []byte{1, 2, 3, 4}, 0xaaaaaaaa},
		{math.MaxUint64 - 1, []byte{1, 2, 3, 4, 5, 6, 7, 8}, 0xaaaaaaaa},
	} {
		d := newDevice(t, Config{})
		d.actual, d.numPages = 0xaaaaaaaa, 77
		d.WriteConfig(tt.off, tt.p)
		if d.actual != tt.want || d.numPages != 77 {
			t.Errorf("%x at %#x: actual %#x, want %#x; target %d", tt.p, tt.off, d.actual, tt.want, d.numPages)
		}
	}
}

func TestHostFails(t *testing.T) {
	var log bytes.Buffer
	broken := &discards{err: errors.New("no such luck")}
	f := newFixture(t, Config{Memory: broken, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		f.inflate(pfns(f.mem, 0x20), pfns(f.mem, 0x30))
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "no such luck") {
		t.Errorf("log %q", log.String())
	}
}

// TestMemoryCannotDiscard holds that the driver learns of a machine that cannot give memory back.
func TestMemoryCannotDiscard(t *testing.T) {
	mem, irq := virtiotest.NewMemory(0x10000, 1<<20), virtiotest.NewIRQ()
	transport, err := virtiommio.New(virtiommio.Config{Device: New(Config{}), Memory: mem, IRQ: irq})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	d := virtiotest.NewDriver(t, transport, mem, irq)
	d.Negotiate(virtio.FeatureVersion1)
	d.AddStatus(virtio.StatusDriverOK)
	d.AwaitNeedsReset()
}

// FuzzReport reports memory in pieces of any sizes and places, and holds that just what the device may write is given back.
func FuzzReport(f *testing.F) {
	f.Add([]byte{1, 0, 0, 1, 0})
	f.Add([]byte{0, 0xff, 0xff, 1, 0, 1, 0, 0, 0, 0, 1, 7, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, input []byte) {
		const piece = 5 // writable or not, offset, length
		if len(input) < piece || len(input) > 32*piece {
			return
		}
		log := new(discards)
		x := newFixture(t, Config{Memory: log})
		var readable, writable []virtiotest.Buf
		want := 0
		for ; len(input) >= piece; input = input[piece:] {
			b := virtiotest.Buf{
				Addr: fixtureBase + fixtureSize/2 + uint64(binary.LittleEndian.Uint16(input[1:])), Len: uint32(binary.LittleEndian.Uint16(input[3:])),
				Write: input[0]&1 != 0,
			}
			if b.Write {
				writable = append(writable, b)
				want += int(b.Len)
			} else {
				readable = append(readable, b)
			}
		}
		c := x.pop(append(readable, writable...)...)
		x.device.reported(c)
		sum := 0
		for _, n := range log.sizes {
			sum += n
		}
		if sum != want {
			t.Errorf("%d bytes were given back, of %d", sum, want)
		}
	})
}
