package guesttest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// PatternBlock is the size of the blocks that the program of package pattern writes, in bytes.
const PatternBlock = 4096

// ConsoleLag is more blocks than that program can have written of which it has not told yet: what its kernel holds back of the console is a page.
const ConsoleLag = 400

// ParsePattern gives the number of a block of that program's, and whether the block is whole.
func ParsePattern(p []byte) (n int, whole bool) {
	if _, err := fmt.Sscanf(string(p[:64]), "govmm pattern %d\n", &n); err != nil {
		return 0, false
	}
	want := make([]byte, PatternBlock)
	for i := copy(want, fmt.Sprintf("govmm pattern %d\n", n)); i < len(want); i++ {
		want[i] = byte(i) + byte(n)
	}
	return n, bytes.Equal(p, want)
}

// A PatternLine is what that program says of a block.
type PatternLine struct {
	Stable bool // the block is on stable storage; otherwise it failed, and is tried once more
	Number int
	Disk   string // as the program was given it
}

// ParsePatternLine takes a line of a guest's console, which may be another's.
func ParsePatternLine(line string) (l PatternLine, ok bool) {
	words := strings.Fields(line)
	if len(words) < 3 || words[0] != "stable" && words[0] != "failed" || words[0] == "stable" && len(words) > 3 {
		return l, false
	}
	n, err := strconv.Atoi(words[1])
	return PatternLine{words[0] == "stable", n, strings.TrimSuffix(words[2], ":")}, err == nil
}
