package memory

import (
	"bytes"
	"errors"
	"testing"
)

// residentPages returns which pages of data are in host memory.
func residentPages(t *testing.T, data []byte) []bool {
	t.Helper()
	vec := make([]byte, len(data)/4096)
	if err := mincore(data, vec); err != nil {
		t.Fatal(err)
	}
	in := make([]bool, len(vec))
	for i, v := range vec {
		in[i] = v&1 != 0
	}
	return in
}

// touch writes to every byte of data.
func touch(data []byte) {
	for i := range data {
		data[i] = 0x77
	}
}

// TestDiscard holds that exactly the whole pages of a window are given back.
func TestDiscard(t *testing.T) {
	for _, tt := range []struct {
		off, n      uint64
		first, last int // pages that go: [first, last)
	}{
		{0x1000, 0x1000, 1, 2},
		{0x1000, 0x3000, 1, 4},
		{0, 0x10000, 0, 16},
		{0xf000, 0x1000, 15, 16},
		{0x1001, 0x3000, 2, 4},
		{0x1001, 0x1fff, 2, 3},
		{0x1001, 0x1ffe, 0, 0},
		{0x1fff, 0x1001, 2, 3},
		{0x1000, 0xfff, 0, 0},
		{0x1800, 0x100, 0, 0},
		{0x1fff, 1, 0, 0},
		{0x2000, 0, 0, 0},
	} {
		m := newMemory(t, Range{0x100000, 0x10000})
		data := m.Regions()[0].Data
		touch(data)
		window, err := m.WriteSlice(0x100000+tt.off, tt.n)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Discard(window); err != nil {
			t.Fatal(err)
		}
		for i, in := range residentPages(t, data) {
			if gone := i >= tt.first && i < tt.last; gone == in {
				t.Errorf("%+v: page %d is in memory: %v", tt, i, in)
			}
		}
		for i, b := range data {
			want := byte(0x77)
			if p := i / 4096; p >= tt.first && p < tt.last {
				want = 0
			}
			if b != want {
				t.Fatalf("%+v: byte %#x is %#x", tt, i, b)
			}
		}
	}
}

// TestDiscardMappedFile holds that the file shows again, not what the guest has written over it, and
// that the file itself is left alone.
func TestDiscardMappedFile(t *testing.T) {
	f, content := randomFile(t, 4*4096)
	m := newMemory(t, Range{0, 16 * 4096})
	if err := m.MapFile(f, 0, 4*4096, content); err != nil {
		t.Fatal(err)
	}
	all := m.Regions()[0].Data
	touch(all)
	if err := m.Discard(all); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all[4*4096:8*4096], content) {
		t.Error("the RAM is not the file's content")
	}
	if zero := make([]byte, 4*4096); !bytes.Equal(all[:4*4096], zero) || !bytes.Equal(all[8*4096:12*4096], zero) {
		t.Error("the RAM around it is not zeros")
	}
}

// TestDiscardForeign holds that nothing but RAM is ever discarded.
func TestDiscardForeign(t *testing.T) {
	m := newMemory(t, Range{0, 8 * 4096}, Range{16 * 4096, 4096})
	own := bytes.Repeat([]byte{1}, 8*4096)
	if err := m.Discard(own); !errors.Is(err, ErrNotRAM) {
		t.Errorf("memory of our own: %v", err)
	}
	// The mapping is larger than the region, by what makes huge pages possible.
	around := m.mappings[0]
	touch(around)
	if err := m.Discard(around); !errors.Is(err, ErrNotRAM) {
		t.Errorf("more than the region: %v", err)
	}
	ram := m.Regions()[0].Data
	if ram[0] != 0x77 || own[4096] != 1 {
		t.Error("it was discarded nevertheless")
	}
	if err := m.Discard(nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
	m.Close()
	if err := m.Discard(own); !errors.Is(err, ErrNotRAM) {
		t.Errorf("after Close: %v", err)
	}
}

func TestDiscardDoesNotAllocate(t *testing.T) {
	m := newMemory(t, Range{0, 16 * 4096})
	window, err := m.WriteSlice(4096, 4*4096)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { m.Discard(window) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
