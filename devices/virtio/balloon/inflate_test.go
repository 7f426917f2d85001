package balloon

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"govmm/devices/eventfd"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// A fixture serves chains of one queue without transport and goroutines.
type fixture struct {
	t      testing.TB
	device *Device
	mem    *virtiotest.Memory
	ring   *virtiotest.Ring
	queue  *virtio.Queue
}

type noInterrupts struct{}

func (noInterrupts) Queue(int) {}
func (noInterrupts) Config()   {}

// The fixture's RAM is pages 0x10 to 0x10f.
const fixtureBase, fixtureSize = 0x10000, 1 << 20

func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	mem := virtiotest.NewMemory(fixtureBase, fixtureSize)
	event, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { event.Close() })
	f := &fixture{t: t, device: newDevice(t, cfg), mem: mem, ring: virtiotest.NewRing(mem, queueSize, false)}
	f.queue, err = virtio.NewQueue(virtio.QueueConfig{
		MaxSize: queueSize, Size: queueSize, DescAddr: f.ring.Desc, AvailAddr: f.ring.Avail, UsedAddr: f.ring.Used,
		Features: virtio.FeatureVersion1, Memory: mem, Event: event, Interrupts: noInterrupts{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// pop makes one chain and takes it.
func (f *fixture) pop(bufs ...virtiotest.Buf) *virtio.Chain {
	f.t.Helper()
	f.ring.Add(bufs...)
	c, err := f.queue.Pop()
	if c == nil || err != nil {
		f.t.Fatalf("Pop: %v, %v", c, err)
	}
	return c
}

func (f *fixture) inflate(bufs ...virtiotest.Buf) {
	f.t.Helper()
	c := f.pop(bufs...)
	f.device.inflateChain(c, f.mem)
	f.queue.Push(c, 0)
	f.ring.Reap()
}

// TestInflateCoalesces holds that neighbours are one call, however the array lists and splits them.
func TestInflateCoalesces(t *testing.T) {
	for name, tt := range map[string]struct {
		pages []uint32
		want  []int // in pages
	}{
		"one":                     {[]uint32{0x20}, []int{1}},
		"ascending":               {[]uint32{0x20, 0x21, 0x22, 0x23}, []int{4}},
		"descending":              {[]uint32{0x23, 0x22, 0x21, 0x20}, []int{4}},
		"two runs":                {[]uint32{0x20, 0x40, 0x21, 0x41, 0x42}, []int{2, 3}},
		"with a gap":              {[]uint32{0x20, 0x22}, []int{1, 1}},
		"twice":                   {[]uint32{0x20, 0x20, 0x21, 0x21, 0x20}, []int{2}},
		"none":                    {nil, nil},
		"not RAM":                 {[]uint32{0, 0x110, 0xffffffff, 0xfffffffe}, nil},
		"across the end of RAM":   {[]uint32{0x10e, 0x10f, 0x110, 0x111}, []int{1, 1}},
		"across the start of RAM": {[]uint32{0xf, 0x10}, []int{1}},
		"RAM and the last pages":  {[]uint32{0xffffffff, 0x20, 0xfffffffe}, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(discards)
			f := newFixture(t, Config{Memory: log})
			all := pfns(f.mem, tt.pages...)
			bufs := []virtiotest.Buf{all}
			if all.Len > 6 {
				bufs = []virtiotest.Buf{{Addr: all.Addr, Len: 6}, {Addr: all.Addr + 6, Len: all.Len - 6}}
			}
			f.inflate(bufs...)
			var got []int
			for _, n := range log.sizes {
				got = append(got, n/PageSize)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%d pages, want %d", got, tt.want)
			}
		})
	}
}

// TestInflateOddLength holds that a part of a number at the end is nothing.
func TestInflateOddLength(t *testing.T) {
	for n := range uint32(2*pfnSize + 1) {
		log := new(discards)
		f := newFixture(t, Config{Memory: log})
		array := pfns(f.mem, 0x20, 0x30)
		f.inflate(virtiotest.Buf{Addr: array.Addr, Len: n})
		if len(log.sizes) != int(n/pfnSize) {
			t.Errorf("%d bytes: discarded %d", n, log.sizes)
		}
	}
}

// TestInflateIsBounded names the same array again and again.
func TestInflateIsBounded(t *testing.T) {
	log := new(discards)
	f := newFixture(t, Config{Memory: log})
	const size = 256 << 10
	addr := f.mem.Alloc(size, pfnSize)
	for i := uint32(0); i < size/pfnSize; i++ {
		binary.LittleEndian.PutUint32(f.mem.Bytes(addr+uint64(i)*pfnSize, pfnSize), 0x20+i%2*2)
	}
	bufs := make([]virtiotest.Buf, queueSize)
	for i := range bufs {
		bufs[i] = virtiotest.Buf{Addr: addr, Len: size}
	}
	f.inflate(bufs...)
	if len(log.sizes) != 2*maxBatches {
		t.Errorf("%d discards", len(log.sizes))
	}
}

// TestInflateLogsOnce holds that a guest cannot fill the log.
func TestInflateLogsOnce(t *testing.T) {
	var log bytes.Buffer
	f := newFixture(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	f.inflate(pfns(f.mem, 1, 3, 5, 7, 0x20))
	f.inflate(pfns(f.mem, 1, 3, 5, 7))
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "not RAM") {
		t.Errorf("log %q", log.String())
	}
}

// silent does not keep what was discarded.
type silent struct{}

func (silent) Discard([]byte) error { return nil }

func TestRequestsDoNotAllocate(t *testing.T) {
	f := newFixture(t, Config{Memory: silent{}})
	numbers := make([]uint32, 256)
	for i := range numbers {
		numbers[i] = 0x20 + uint32(i*7%128)
	}
	bufs := []virtiotest.Buf{pfns(f.mem, numbers...), pfns(f.mem, numbers...)}
	entries := virtiotest.Buf{Addr: f.mem.Alloc(100, 1), Len: 100}
	chain := func(serve func(*virtio.Chain), bufs ...virtiotest.Buf) float64 {
		return testing.AllocsPerRun(100, func() {
			c := f.pop(bufs...)
			serve(c)
			f.queue.Push(c, 0)
			f.ring.Reap()
		})
	}
	inflate := func(c *virtio.Chain) { f.device.inflateChain(c, f.mem) }
	if n := chain(inflate, bufs...) - chain(func(*virtio.Chain) {}, bufs...); n > 0 {
		t.Errorf("inflation allocates %v times", n)
	}
	v := &f.device.stats
	answer := func(c *virtio.Chain) {
		v.wanted++
		v.question()
		n, _ := c.Read(v.raw[:])
		v.receive(v.raw[:n])
	}
	if n := chain(answer, entries) - chain(func(*virtio.Chain) {}, entries); n > 0 {
		t.Errorf("statistics allocate %v times", n)
	}
}

// FuzzInflate inflates the input as an array of page frame numbers, split as its first byte says.
func FuzzInflate(f *testing.F) {
	f.Add([]byte{4, 0x20, 0, 0, 0, 0x21, 0, 0, 0})
	f.Add([]byte{3, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0x10, 0, 0, 0})
	f.Add([]byte{1, 0x0e, 1, 0, 0, 0x0f, 1, 0, 0, 0x10, 1, 0, 0, 0x20})
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 || len(input) > 1<<13 {
			return
		}
		log := new(discards)
		x := newFixture(t, Config{Memory: log})
		cut := int(input[0])
		input = input[1:]
		addr := x.mem.Alloc(uint64(len(input)), 1)
		copy(x.mem.Bytes(addr, uint64(len(input))), input)
		cut = min(cut, len(input))
		x.inflate(virtiotest.Buf{Addr: addr, Len: uint32(cut)}, virtiotest.Buf{Addr: addr + uint64(cut), Len: uint32(len(input) - cut)})

		want := make(map[uint32]bool)
		for p := input; len(p) >= pfnSize; p = p[pfnSize:] {
			if n := binary.LittleEndian.Uint32(p); n >= fixtureBase/PageSize && n < (fixtureBase+fixtureSize)/PageSize {
				want[n] = true
			}
		}
		sum := 0
		for _, n := range log.sizes {
			sum += n
		}
		// An array of several batches may name a page in each.
		if one := len(input)/pfnSize <= batchPages; one && sum != len(want)*PageSize || sum < len(want)*PageSize {
			t.Errorf("%d bytes were discarded, for %d pages", sum, len(want))
		}
	})
}
