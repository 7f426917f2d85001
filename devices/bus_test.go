package devices

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// access is what a recorder saw.
type access struct {
	write bool
	off   uint64
	n     int
}

// A recorder is a Handler that answers reads with its fill byte.
type recorder struct {
	mu   sync.Mutex
	fill byte
	seen []access
}

func (r *recorder) Read(off uint64, p []byte) {
	for i := range p {
		p[i] = r.fill
	}
	r.record(access{false, off, len(p)})
}

func (r *recorder) Write(off uint64, p []byte) {
	r.record(access{true, off, len(p)})
}

func (r *recorder) record(a access) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, a)
}

func mustAdd(t testing.TB, b *Bus, base, size uint64, name string, h Handler) {
	t.Helper()
	if err := b.Add(base, size, name, h); err != nil {
		t.Fatal(err)
	}
}

func TestBusDispatch(t *testing.T) {
	const top = math.MaxUint64
	b := NewBus("MMIO", 0)
	// Added out of order, side by side, and up to both ends.
	mustAdd(t, b, 0x100, 0x10, "middle", &recorder{fill: 2})
	mustAdd(t, b, 0x110, 0x08, "next", &recorder{fill: 3})
	mustAdd(t, b, top-7, 8, "top", &recorder{fill: 4})
	mustAdd(t, b, 0, 4, "bottom", &recorder{fill: 1})

	for _, tt := range []struct {
		addr uint64
		n    int
		fill byte // 0xff is unmapped
	}{
		{0, 1, 1}, {0, 4, 1}, {3, 1, 1}, {3, 2, 0xff}, {0, 8, 0xff}, {4, 1, 0xff},
		{0xff, 1, 0xff}, {0xff, 2, 0xff}, {0x100, 8, 2}, {0x10f, 1, 2}, {0x10e, 2, 2},
		{0x10e, 4, 0xff}, {0x10f, 2, 0xff}, // one region's end and the next one's start
		{0x110, 8, 3}, {0x118, 1, 0xff},
		{top, 1, 4}, {top - 7, 8, 4}, {top - 6, 8, 0xff}, {top, 2, 0xff}, {top - 8, 1, 0xff},
		{0x100, 3, 0xff}, {0x100, 0, 0xff}, {0x100, 5, 0xff}, {0x100, 16, 0xff},
	} {
		p := bytes.Repeat([]byte{0xaa}, tt.n)
		found := b.Read(tt.addr, p)
		if want := tt.fill != 0xff; found != want {
			t.Errorf("Read(%#x, %d bytes) = %v, want %v", tt.addr, tt.n, found, want)
		}
		if want := bytes.Repeat([]byte{tt.fill}, tt.n); !bytes.Equal(p, want) {
			t.Errorf("Read(%#x, %d bytes) gave % x, want % x", tt.addr, tt.n, p, want)
		}
		if found := b.Write(tt.addr, p); found != (tt.fill != 0xff) {
			t.Errorf("Write(%#x, %d bytes) = %v", tt.addr, tt.n, found)
		}
	}
}

func TestBusOffsets(t *testing.T) {
	r := new(recorder)
	b := NewBus("PIO", 1<<16)
	mustAdd(t, b, 0x3f8, 8, "serial", r)
	b.Read(0x3fd, make([]byte, 1))
	b.Write(0x3f8, make([]byte, 2))
	b.Write(0x400, make([]byte, 1))
	want := []access{{false, 5, 1}, {true, 0, 2}}
	if fmt.Sprint(r.seen) != fmt.Sprint(want) {
		t.Errorf("handler saw %v, want %v", r.seen, want)
	}
}

func TestEmptyBus(t *testing.T) {
	b := NewBus("PIO", 1<<16)
	p := []byte{0}
	if b.Read(0x60, p) || p[0] != 0xff {
		t.Errorf("Read answered %#x on an empty bus", p)
	}
	if b.Write(0x60, p) {
		t.Error("Write was answered on an empty bus")
	}
}

func TestBusAddErrors(t *testing.T) {
	h := new(recorder)
	for _, tt := range []struct {
		name       string
		base, size uint64
		h          Handler
		want       []string // in the message
	}{
		{"empty", 0x10, 0, h, []string{"PIO", "empty"}},
		{"wraps", math.MaxUint64, 2, h, []string{"wraps"}},
		{"beyond", 0xffff, 2, h, []string{"beyond", "0xffff"}},
		{"nil", 0x10, 1, nil, []string{"nil", "handler"}},
		{"same", 0x100, 0x10, h, []string{"same", "[0x100-0x10f]", "there [0x100-0x10f]"}},
		{"inside", 0x104, 1, h, []string{"inside [0x104-0x104]", "there [0x100-0x10f]"}},
		{"around", 0xf0, 0x40, h, []string{"around [0xf0-0x12f]", "there [0x100-0x10f]"}},
		{"head", 0xf0, 0x11, h, []string{"head [0xf0-0x100]", "there [0x100-0x10f]"}},
		{"tail", 0x10f, 1, h, []string{"tail [0x10f-0x10f]", "there [0x100-0x10f]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBus("PIO", 1<<16)
			mustAdd(t, b, 0x100, 0x10, "there", &recorder{fill: 7})
			err := b.Add(tt.base, tt.size, tt.name, tt.h)
			if err == nil {
				t.Fatal("Add gave no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if b.Read(0xf0, make([]byte, 1)) || !b.Read(0x100, make([]byte, 1)) {
				t.Error("the failed Add changed the bus")
			}
		})
	}
}

// TestBusAgainstMap compares with the obvious implementation: a table of every
// address.
func TestBusAgainstMap(t *testing.T) {
	const size = 512
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		b := NewBus("test", size)
		var owner [size]byte // 0 is nobody
		for id := byte(1); id < 40; id++ {
			base, n := rng.Uint64N(size), rng.Uint64N(24)+1
			free := base+n <= size
			for a := base; free && a < base+n; a++ {
				free = owner[a] == 0
			}
			err := b.Add(base, n, fmt.Sprint(id), &recorder{fill: id})
			if (err == nil) != free {
				t.Fatalf("Add(%#x, %#x): %v, free is %v", base, n, err, free)
			}
			for a := base; err == nil && a < base+n; a++ {
				owner[a] = id
			}
		}
		for a := range uint64(size) {
			p := []byte{0}
			b.Read(a, p)
			want := owner[a]
			if want == 0 {
				want = 0xff
			}
			if p[0] != want {
				t.Fatalf("Read(%#x) was answered by %d, want %d", a, p[0], want)
			}
		}
	}
}

// TestBusConcurrent is for the race detector: accesses go on while regions are
// added.
func TestBusConcurrent(t *testing.T) {
	b := NewBus("MMIO", 0)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			p := make([]byte, 4)
			for range 500 {
				b.Read(0x1000, p)
				b.Write(0x2000, p)
			}
		})
		wg.Go(func() {
			for n := range uint64(50) {
				name := fmt.Sprintf("region %d.%d", i, n)
				if err := b.Add(0x1000+(4*n+uint64(i))*0x10, 0x10, name, new(recorder)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range uint64(200) {
		if !b.Read(0x1000+n*0x10, make([]byte, 1)) {
			t.Fatalf("region %d got lost", n)
		}
	}
}

// quiet is a Handler that does nothing.
type quiet struct{}

func (quiet) Read(uint64, []byte)  {}
func (quiet) Write(uint64, []byte) {}

func quietBus(t testing.TB) *Bus {
	b := NewBus("PIO", 1<<16)
	for i := range uint64(32) {
		mustAdd(t, b, i*0x100, 8, "quiet", quiet{})
	}
	return b
}

func TestBusDoesNotAllocate(t *testing.T) {
	b, p := quietBus(t), make([]byte, 4)
	if n := testing.AllocsPerRun(100, func() {
		b.Read(0x304, p)
		b.Write(0x304, p)
		b.Read(0x309, p)
		b.Write(0xffff, p)
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

func BenchmarkBusRead(b *testing.B) {
	bus, p := quietBus(b), make([]byte, 1)
	for b.Loop() {
		bus.Read(0x304, p)
	}
}

func TestBusRemove(t *testing.T) {
	b := NewBus("MMIO", 0)
	mustAdd(t, b, 0x100, 0x10, "first", &recorder{fill: 1})
	mustAdd(t, b, 0x110, 0x10, "second", &recorder{fill: 2})
	if b.Remove(0x108) || b.Remove(0) || b.Remove(0x120) {
		t.Error("removed a region that does not begin there")
	}
	if !b.Remove(0x100) || b.Remove(0x100) {
		t.Error("a region is to be removed once")
	}
	var p [1]byte
	if b.Read(0x100, p[:]) || !b.Read(0x110, p[:]) {
		t.Error("the wrong region is gone")
	}
	mustAdd(t, b, 0xf8, 0x18, "larger", &recorder{fill: 3})
	if b.Read(0x108, p[:]); p[0] != 3 {
		t.Errorf("the new region reads %#x", p[0])
	}
}

// TestNames holds that a name is found for exactly those accesses that a region answers.
func TestNames(t *testing.T) {
	b := NewBus("PIO", 1<<16)
	mustAdd(t, b, 0x3f8, 8, "serial", new(recorder))
	mustAdd(t, b, 0x60, 1, "keyboard", new(recorder))
	for _, tt := range []struct {
		addr uint64
		n    int
		want string
	}{{0x3f8, 1, "serial"}, {0x3ff, 1, "serial"}, {0x3ff, 2, ""}, {0x3f8, 3, ""}, {0x400, 1, ""}, {0x60, 1, "keyboard"}} {
		if got := b.Name(tt.addr, tt.n); got != tt.want {
			t.Errorf("%d bytes at %#x: %q, want %q", tt.n, tt.addr, got, tt.want)
		}
	}
	if got := b.Names(); !slices.Equal(got, []string{"keyboard", "serial"}) {
		t.Errorf("names %q", got)
	}
}
