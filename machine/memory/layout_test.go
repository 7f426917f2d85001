package memory

import (
	"fmt"
	"slices"
	"testing"
)

const (
	miB = 1 << 20
	giB = 1 << 30

	holeStart = 3 * giB
	holeEnd   = 4 * giB
)

func TestLayout(t *testing.T) {
	tests := []struct {
		size uint64
		want []Range
	}{
		{4096, []Range{{0, 4096}}},
		{32 * miB, []Range{{0, 32 * miB}}},
		{3*giB - 4096, []Range{{0, 3*giB - 4096}}},
		{3 * giB, []Range{{0, 3 * giB}}},
		{3*giB + 4096, []Range{{0, 3 * giB}, {4 * giB, 4096}}},
		{4 * giB, []Range{{0, 3 * giB}, {4 * giB, giB}}},
		{6 * giB, []Range{{0, 3 * giB}, {4 * giB, 3 * giB}}},
		{64 * giB, []Range{{0, 3 * giB}, {4 * giB, 61 * giB}}},
		{maxAddr - giB, []Range{{0, 3 * giB}, {4 * giB, maxAddr - 4*giB}}},
	}
	for _, tt := range tests {
		got, err := Layout(tt.size, holeStart, holeEnd)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Layout(%#x) = %v, %v, want %v", tt.size, got, err, tt.want)
		}
	}
}

func TestLayoutHole(t *testing.T) {
	tests := []struct {
		start, end uint64
		want       []Range
	}{
		{0, giB, []Range{{giB, 32 * miB}}},                      // RAM starts behind the hole, as on arm64
		{miB, miB, []Range{{0, miB}, {miB, 31 * miB}}},          // an empty hole
		{4096, 8192, []Range{{0, 4096}, {8192, 32*miB - 4096}}}, // the smallest one
		{holeStart, 1<<64 - 4096, []Range{{0, 32 * miB}}},       // nothing behind it, so its end is no matter
	}
	for _, tt := range tests {
		got, err := Layout(32*miB, tt.start, tt.end)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Layout around [%#x, %#x) = %v, %v, want %v", tt.start, tt.end, got, err, tt.want)
		}
	}
}

func TestLayoutErrors(t *testing.T) {
	tests := []struct{ size, start, end uint64 }{
		{0, holeStart, holeEnd},
		{4095, holeStart, holeEnd},
		{miB + 1, holeStart, holeEnd},
		{miB, holeEnd, holeStart},
		{miB, holeStart + 1, holeEnd},
		{miB, holeStart, holeEnd - 1},
		{maxAddr - giB + 4096, holeStart, holeEnd}, // one page beyond the address space
		{1<<64 - 4096, holeStart, holeEnd},
		{4 * giB, holeStart, 1<<64 - 4096}, // the upper part would wrap
	}
	for _, tt := range tests {
		if got, err := Layout(tt.size, tt.start, tt.end); err == nil {
			t.Errorf("Layout(%#x, %#x, %#x) = %v, want an error", tt.size, tt.start, tt.end, got)
		}
	}
}

func ExampleLayout() {
	ranges, err := Layout(6<<30, 3<<30, 4<<30)
	fmt.Println(ranges, err)
	// Output: [[0x0, 0xc0000000) [0x100000000, 0x1c0000000)] <nil>
}
