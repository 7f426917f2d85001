//go:build linuxtest

package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

// The pattern that the guests' command of that name writes.
const (
	patternBlock  = 4096
	patternBlocks = 2000
	firstStep     = 1_000_000 // from the numbers of one run to those of the next; a multiple of patternBlocks

	// consoleLag is more blocks than a guest can have written of which it has not told us yet: what its kernel holds back
	// of the console is a page.
	consoleLag = 400
)

// A patternFile is a file of a guest's, and what is known of it.
type patternFile struct {
	name string      // in the guest
	told map[int]int // the last number at each place that the guest said is stable
	last int         // of all, or the one before the first of a run
}

func newPatternFile(name string) *patternFile { return &patternFile{name: name, told: map[int]int{}} }

// begin is told of a run before it starts.
func (f *patternFile) begin(first int) { f.last = first - 1 }

func (f *patternFile) tell(n int) { f.told[n%patternBlocks], f.last = n, n }

// check holds that each block of which the guest has told, or one written later, is in the file. Shortly behind the last of
// them is one that may be half written, which is then not looked for any more. It gives the number of blocks.
func (f *patternFile) check(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for place, told := range f.told {
		at := place * patternBlock
		if len(data) < at+patternBlock {
			t.Errorf("%s: has %d bytes and lacks block %d", f.name, len(data), told)
			continue
		}
		n, ok := parseBlock(data[at : at+patternBlock])
		behind := (place - f.last%patternBlocks + patternBlocks) % patternBlocks
		switch {
		case ok && n >= told && n%patternBlocks == place:
		case !ok && behind > 0 && behind < consoleLag:
			torn++
			delete(f.told, place)
		default:
			t.Errorf("%s: at place %d is %d (%v, %q), the guest was told that %d is stable; the last is %d",
				f.name, place, n, ok, data[at:at+20], told, f.last)
		}
	}
	if torn > 1 {
		t.Errorf("%s: %d blocks are half written", f.name, torn)
	}
	return len(f.told)
}

// parseBlock gives the number of a block, and whether the block is whole.
func parseBlock(p []byte) (n int, ok bool) {
	if _, err := fmt.Sscanf(string(p[:64]), "govmm pattern %d\n", &n); err != nil {
		return 0, false
	}
	want := make([]byte, patternBlock)
	for i := copy(want, fmt.Sprintf("govmm pattern %d\n", n)); i < len(want); i++ {
		want[i] = byte(i) + byte(n)
	}
	return n, bytes.Equal(p, want)
}
