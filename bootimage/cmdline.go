package bootimage

import (
	"errors"
	"fmt"
	"strings"
)

// cmdlineSegment checks the command line against the most characters that the
// kernel takes, as source says, and returns it as a segment.
func cmdlineSegment(cmdline string, limit uint32, source string, mem *memoryMap) (Segment, error) {
	if uint64(len(cmdline)) > uint64(limit) {
		return Segment{}, fmt.Errorf("the command line has %d characters, the kernel takes at most %d (%s)", len(cmdline), limit, source)
	}
	if len(cmdline) >= cmdlineRoom {
		return Segment{}, fmt.Errorf("the command line has %d characters, there is room for %d", len(cmdline), cmdlineRoom-1)
	}
	if strings.IndexByte(cmdline, 0) >= 0 {
		return Segment{}, errors.New("the command line contains a NUL character")
	}
	size := len(cmdline) + 1
	if err := mem.checkLow("command line", cmdlineAddr, uint64(size)); err != nil {
		return Segment{}, err
	}
	data := make([]byte, size)
	copy(data, cmdline)
	return Segment{Addr: cmdlineAddr, Data: data, Size: uint64(size), Name: "command line"}, nil
}

func initrdSegment(addr uint64, initrd []byte) Segment {
	return Segment{Addr: addr, Data: initrd, Size: uint64(len(initrd)), Name: "initrd", Source: FromInitrd}
}
