//go:build linuxtest

package main

import (
	"os"
	"testing"

	"govmm/machine/guesttest"
)

// The pattern that the guests' command of that name writes.
const (
	patternBlocks = 2000
	firstStep     = 1_000_000 // from the numbers of one run to those of the next; a multiple of patternBlocks
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
		at := place * guesttest.PatternBlock
		if len(data) < at+guesttest.PatternBlock {
			t.Errorf("%s: has %d bytes and lacks block %d", f.name, len(data), told)
			continue
		}
		n, ok := guesttest.ParsePattern(data[at : at+guesttest.PatternBlock])
		behind := (place - f.last%patternBlocks + patternBlocks) % patternBlocks
		switch {
		case ok && n >= told && n%patternBlocks == place:
		case !ok && behind > 0 && behind < guesttest.ConsoleLag:
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
