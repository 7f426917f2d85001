package memory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"sync"
	"testing"
)

// Memory is for loaders and devices that know only these.
var (
	_ io.ReaderAt = (*Memory)(nil)
	_ io.WriterAt = (*Memory)(nil)
)

func newMemory(t testing.TB, ranges ...Range) *Memory {
	t.Helper()
	m, err := New(ranges)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// holed has a hole in it, and two regions that touch each other.
func holed(t testing.TB) *Memory {
	return newMemory(t, Range{0, 4 * 4096}, Range{8 * 4096, 4096}, Range{9 * 4096, 2 * 4096})
}

func TestSliceBounds(t *testing.T) {
	m := holed(t)
	const max = math.MaxUint64
	tests := []struct {
		addr, n uint64
		ok      bool
	}{
		{0, 0, true},
		{0, 1, true},
		{0, 0x4000, true},
		{0, 0x4001, false},
		{1, 0x4000, false},
		{0x3fff, 1, true}, // the last byte
		{0x3fff, 2, false},
		{0x4000, 0, true}, // nothing, at the end
		{0x4000, 1, false},
		{0x4001, 0, false}, // nothing, in the hole
		{0x7fff, 1, false},
		{0x7fff, 2, false},
		{0x8000, 0x1000, true},
		{0x8000, 0x1001, false}, // crosses to the next region, although that follows at once
		{0x9000, 0x2000, true},
		{0xafff, 1, true},
		{0xb000, 1, false},
		{0, max, false}, // sums that wrap around 2^64
		{1, max, false},
		{0x3fff, max - 0x3ffe, false},
		{0x8000, max - 0x7fff, false},
		{0x8000, max - 0x7fff + 1, false},
		{max, 0, false},
		{max, 1, false},
		{max, 2, false},
		{max, max, false},
		{max - 0xfff, 0x1000, false},
		{max - 0xfff, 0x1001, false},
		{1 << 63, 1 << 63, false},
	}
	for _, tt := range tests {
		for name, slice := range map[string]func(addr, n uint64) ([]byte, error){
			"ReadSlice": m.ReadSlice, "WriteSlice": m.WriteSlice,
		} {
			p, err := slice(tt.addr, tt.n)
			if (err == nil) != tt.ok {
				t.Errorf("%s(%#x, %#x): error %v, want success: %t", name, tt.addr, tt.n, err, tt.ok)
				continue
			}
			if !tt.ok {
				var access *AccessError
				if !errors.As(err, &access) || access.Addr != tt.addr || access.Size != tt.n || p != nil {
					t.Errorf("%s(%#x, %#x) = %d bytes, %#v", name, tt.addr, tt.n, len(p), err)
				}
				continue
			}
			if uint64(len(p)) != tt.n || cap(p) != len(p) {
				t.Errorf("%s(%#x, %#x): len %#x, cap %#x", name, tt.addr, tt.n, len(p), cap(p))
			}
		}
	}
}

// FuzzSlice compares with arithmetic in 128 bits.
func FuzzSlice(f *testing.F) {
	f.Add(uint64(0), uint64(0))
	f.Add(uint64(0x3fff), uint64(2))
	f.Add(uint64(0x8000), uint64(math.MaxUint64-0x7fff))
	f.Add(uint64(math.MaxUint64), uint64(1))
	m := holed(f)
	f.Fuzz(func(t *testing.T, addr, n uint64) {
		end, carry := bits.Add64(addr, n, 0)
		want := false
		for _, r := range m.Regions() {
			if carry == 0 && addr >= r.Base && end <= r.Base+uint64(len(r.Data)) {
				want = true
			}
		}
		p, err := m.WriteSlice(addr, n)
		if (err == nil) != want || (want && uint64(len(p)) != n) {
			t.Fatalf("WriteSlice(%#x, %#x) = %d bytes, %v, want success: %t", addr, n, len(p), err, want)
		}
		for i := range p {
			p[i]++ // a fault here means that the slice is not RAM
		}
	})
}

// A write is seen at its address by every way of reading.
func TestAccessors(t *testing.T) {
	m := holed(t)
	w, err := m.WriteSlice(0x8ffe, 2)
	if err != nil {
		t.Fatal(err)
	}
	copy(w, "ab")
	if _, err := m.WriteAt([]byte("cd"), 0x9000); err != nil {
		t.Fatal(err)
	}
	r, err := m.ReadSlice(0x8ffe, 2)
	if err != nil || string(r) != "ab" {
		t.Errorf("ReadSlice = %q, %v", r, err)
	}
	p := make([]byte, 4)
	if n, err := m.ReadAt(p, 0x8ffe); n != 4 || err != nil || string(p) != "abcd" {
		t.Errorf("ReadAt across regions = %d, %v, %q", n, err, p)
	}
	if regions := m.Regions(); string(regions[1].Data[0xffe:]) != "ab" || string(regions[2].Data[:2]) != "cd" {
		t.Error("Regions has other bytes")
	}
}

func TestReadAtWriteAt(t *testing.T) {
	tests := []struct {
		off  int64
		size int
		n    int    // bytes until RAM ends
		addr uint64 // and where that is
	}{
		{0, 0x4000, 0x4000, 0},
		{0x8000, 0x3000, 0x3000, 0}, // two regions
		{0x3ffe, 4, 2, 0x4000},
		{0x4000, 1, 0, 0x4000},
		{0x7fff, 2, 0, 0x7fff},
		{0xafff, 2, 1, 0xb000},
		{0x4000, 0, 0, 0}, // nothing, anywhere
		{math.MaxInt64, 0, 0, 0},
		{math.MaxInt64, 2, 0, math.MaxInt64},
		{-1, 2, 0, math.MaxUint64},
		{math.MinInt64, 1, 0, 1 << 63},
	}
	for _, tt := range tests {
		m := holed(t)
		data := bytes.Repeat([]byte{0xa5}, tt.size)
		check := func(name string, n int, err error) {
			t.Helper()
			var access *AccessError
			ok := err == nil
			if n < tt.size {
				ok = errors.As(err, &access) && access.Addr == tt.addr && access.Size == uint64(tt.size-n)
			}
			if n != tt.n || !ok {
				t.Errorf("%s(%d bytes, %#x) = %d, %v, want %d and an error at %#x", name, tt.size, tt.off, n, err, tt.n, tt.addr)
			}
		}
		n, err := m.WriteAt(data, tt.off)
		check("WriteAt", n, err)
		got := make([]byte, tt.size)
		n, err = m.ReadAt(got, tt.off)
		check("ReadAt", n, err)
		if !bytes.Equal(got[:n], data[:n]) || !bytes.Equal(got[n:], make([]byte, tt.size-n)) {
			t.Errorf("ReadAt(%#x) does not read what WriteAt wrote", tt.off)
		}
	}
}

func TestNewErrors(t *testing.T) {
	tests := [][]Range{
		nil,
		{},
		{{0, 0}},
		{{0, 4095}},
		{{1, 4096}},
		{{0, 4096}, {0, 4096}},
		{{0, 8192}, {4096, 4096}},
		{{8192, 4096}, {0, 4096}},
		{{maxAddr, 4096}},
		{{maxAddr - 4096, 8192}},
		{{1<<64 - 4096, 4096}},
		{{4096, 1<<64 - 4096}},
		{{0, 4096}, {4096, 1<<64 - 4096}},
		{{0, 1 << 51}}, // more than the host's address space
	}
	for _, ranges := range tests {
		if m, err := New(ranges); err == nil {
			t.Errorf("New(%v): no error", ranges)
			m.Close()
		}
	}
}

// A failure at the second range gives the first one back.
func TestNewUnmapsAfterError(t *testing.T) {
	const tiB = 1 << 40 // more than anything else in this process maps meanwhile
	before := mapped(t)
	if m, err := New([]Range{{0, tiB}, {0, 4096}}); err == nil {
		m.Close()
		t.Fatal("no error")
	}
	if after := mapped(t); after > before+tiB/2 {
		t.Errorf("the process maps %d bytes after the error, and %d before", after, before)
	}
}

// mapped returns how many bytes the process maps (proc(5), statm).
func mapped(t *testing.T) (size uint64) {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

func TestSizeAndRegions(t *testing.T) {
	for _, size := range []uint64{32 * miB, 256 * miB, 3 * giB, 6 * giB, 64 * giB} {
		ranges, err := Layout(size, holeStart, holeEnd)
		if err != nil {
			t.Fatal(err)
		}
		m := newMemory(t, ranges...)
		if m.Size() != size {
			t.Errorf("Size = %#x, want %#x", m.Size(), size)
		}
		regions := m.Regions()
		if len(regions) != len(ranges) {
			t.Fatalf("%d regions for ranges %v", len(regions), ranges)
		}
		for i, r := range regions {
			if r.Base != ranges[i].Base || uint64(len(r.Data)) != ranges[i].Size {
				t.Errorf("region %d: %#x bytes at %#x, want %v", i, len(r.Data), r.Base, ranges[i])
			}
			// The last byte of each region works, and the one behind it is not RAM.
			last := r.Base + uint64(len(r.Data)) - 1
			if p, err := m.WriteSlice(last, 1); err != nil || p[0] != 0 {
				t.Errorf("last byte %#x: %v, %v", last, p, err)
			}
			if _, err := m.ReadSlice(last, 2); err == nil {
				t.Errorf("two bytes at %#x: no error", last)
			}
		}
		regions[0] = Region{}
		if m.Size() != size {
			t.Error("Regions gives the slice that Memory uses itself")
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A guest costs what it touches.
func TestResident(t *testing.T) {
	ranges, err := Layout(8*giB, holeStart, holeEnd)
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory(t, ranges...)
	page := uint64(os.Getpagesize())
	// A host that hands out huge pages unasked gives 512 pages for one.
	const huge = 2 << 20
	checkResident := func(when string, touched uint64) {
		t.Helper()
		if got, err := m.Resident(); err != nil || got < touched*page || got > touched*huge {
			t.Errorf("%s: %d bytes are resident, %v, want those of %d touches", when, got, err, touched)
		}
	}
	checkResident("untouched", 0)
	for _, addr := range []uint64{0x7000, 3*giB - 1, 9*giB - 1} {
		p, err := m.WriteSlice(addr, 1)
		if err != nil {
			t.Fatal(err)
		}
		p[0] = 1
	}
	checkResident("after touching 3 pages", 3)
	if _, err := m.ReadSlice(giB, giB); err != nil {
		t.Fatal(err)
	}
	checkResident("after asking for a slice", 3)
}

func TestClose(t *testing.T) {
	m, err := New([]Range{{0, 4096}, {8192, 4096}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.ReadSlice(0, 1); err == nil {
			t.Error("ReadSlice after Close: no error")
		}
		if n, err := m.WriteAt([]byte{1}, 0); n != 0 || err == nil {
			t.Errorf("WriteAt after Close = %d, %v", n, err)
		}
		if n, err := m.Resident(); n != 0 || err != nil || m.Size() != 0 || len(m.Regions()) != 0 {
			t.Errorf("after Close: %d bytes resident, %v, size %d", n, err, m.Size())
		}
	}
}

// The methods themselves share nothing that changes: run with -race.
func TestConcurrentUse(t *testing.T) {
	m := holed(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			// Each goroutine has bytes of its own, as devices with buffers have.
			p := []byte{byte(g), byte(g + 1)}
			got := make([]byte, 2)
			off := int64(0x8ff8 + 2*g)
			for range 200 {
				m.WriteAt(p, off)
				m.ReadAt(got, off)
				if !bytes.Equal(got, p) {
					t.Errorf("goroutine %d reads %v, wrote %v", g, got, p)
					return
				}
				m.Regions()
				if _, err := m.Resident(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestNoAllocation(t *testing.T) {
	m := holed(t)
	p := make([]byte, 0x3000)
	tests := map[string]func(){
		"ReadSlice":  func() { m.ReadSlice(0x9000, 16) },
		"WriteSlice": func() { m.WriteSlice(0x9000, 16) },
		"ReadAt":     func() { m.ReadAt(p, 0x8000) },
		"WriteAt":    func() { m.WriteAt(p, 0x8000) },
	}
	for name, f := range tests {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkReadSlice(b *testing.B) {
	m := newMemory(b, Range{0, 3 * giB}, Range{4 * giB, giB})
	for b.Loop() {
		if _, err := m.ReadSlice(4*giB+0x1234, 16); err != nil {
			b.Fatal(err)
		}
	}
}

// TestHugePageAlignment holds that KVM can use huge pages: addresses agree in their low bits.
func TestHugePageAlignment(t *testing.T) {
	m := newMemory(t, Range{0, 5 << 20}, Range{0x10_0030_1000, 4 << 20})
	for _, r := range m.Regions() {
		if (address(r.Data)-r.Base)%hugePage != 0 {
			t.Errorf("guest %#x is at %#x of the host", r.Base, address(r.Data))
		}
	}
}

// TestSmallPages holds that where a guest touches little here and there, that is all it costs, and that the end of the RAM costs nothing beyond it.
func TestSmallPages(t *testing.T) {
	const size = smallBelow + hugePage + 4096
	m := newMemory(t, Range{0, size})
	data := m.Regions()[0].Data
	for off := 0; off < smallBelow; off += hugePage {
		data[off] = 1
	}
	if got, err := m.Resident(); err != nil || got != smallBelow/hugePage*4096 {
		t.Errorf("%d bytes are resident, error %v", got, err)
	}
	data[size-1] = 1
	behind := m.mappings[0][address(data)-address(m.mappings[0])+size:]
	vec := make([]byte, hugePage/4096)
	if err := mincore(behind, vec); err != nil {
		t.Fatal(err)
	}
	if bytes.IndexByte(vec, 1) >= 0 {
		t.Error("pages behind the RAM are resident")
	}
}
