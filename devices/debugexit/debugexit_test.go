package debugexit

import (
	"bytes"
	"slices"
	"testing"

	"govmm/devices"
)

var _ devices.Handler = (*Port)(nil)

func TestWrite(t *testing.T) {
	for _, tt := range []struct {
		off  uint64
		p    []byte
		want uint32
	}{
		{0, []byte{0x10}, 0x10},
		{0, []byte{0xff}, 0xff},
		{3, []byte{0x42}, 0x42},
		{0, []byte{0x34, 0x12}, 0x1234},
		{0, []byte{0x78, 0x56, 0x34, 0xf2}, 0xf2345678},
		{0, []byte{1, 0, 0, 0, 2, 0, 0, 0}, 1},
	} {
		var got []uint32
		New(func(v uint32) { got = append(got, v) }).Write(tt.off, tt.p)
		if want := []uint32{tt.want}; !slices.Equal(got, want) {
			t.Errorf("wrote % x: exit was called with %#x, want %#x", tt.p, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	p := bytes.Repeat([]byte{0xaa}, 4)
	New(func(uint32) { t.Error("a read ended the machine") }).Read(0, p)
	if !bytes.Equal(p, make([]byte, 4)) {
		t.Errorf("read % x", p)
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		v    uint32
		want int
	}{
		{0, 1}, {1, 3}, {0x10, 33}, {0x11, 35}, {0x7f, 255},
		{0x80, 1}, {0xff, 255}, {0xffffffff, 255}, {0x80000000, 1},
	} {
		if got := Status(tt.v); got != tt.want {
			t.Errorf("Status(%#x) = %d, want %d", tt.v, got, tt.want)
		}
	}
}

func TestDoesNotAllocate(t *testing.T) {
	var sum uint32
	port, p := New(func(v uint32) { sum += v }), make([]byte, 4)
	if n := testing.AllocsPerRun(100, func() {
		port.Write(0, p)
		port.Read(0, p)
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}
