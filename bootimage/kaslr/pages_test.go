package kaslr

import (
	"slices"
	"testing"
)

func TestPages(t *testing.T) {
	const block = 2 * pageSize
	places := func(offsets ...uint64) []byte {
		for i := range offsets {
			offsets[i] += testVirt
		}
		return table(offsets...)[entrySize:]
	}
	r := Relocs{
		abs32:   places(0, 8, pageSize-1, 2*pageSize),
		inverse: places(16, 5*pageSize),
		abs64:   places(pageSize, 6*pageSize, 1<<30, ^uint64(0)),
	}
	if got, want := r.Pages(testVirt, 5*pageSize+1, block), []int{2, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("pages %v, want %v", got, want)
	}
	if got := r.Pages(testVirt, 0, block); len(got) != 0 {
		t.Errorf("pages of nothing: %v", got)
	}
}
