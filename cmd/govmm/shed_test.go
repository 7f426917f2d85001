package main

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestShed holds that the program's own pages are fewer afterwards, and that it goes on.
func TestShed(t *testing.T) {
	if traced() {
		t.Skip("a debugger is attached")
	}
	before := residentFile(t)
	newShedder().shed()
	if after := residentFile(t); after >= before { // how many come back at once is the kernel's choice
		t.Errorf("of %d KiB of files, %d KiB stay", before, after)
	}
}

// TestShedsReadOnlyOnly holds that what the program may have written to, its relocations too, is not dropped.
func TestShedsReadOnlyOnly(t *testing.T) {
	var code, data int
	for _, s := range programSegments() {
		switch {
		case s.Type != ptLoad:
		case s.Flags&pfWrite == 0:
			code++
		default:
			data++
		}
	}
	if code == 0 || data == 0 {
		t.Errorf("%d segments of code and constants, %d of variables", code, data)
	}
}

// residentFile gives the KiB of files that the process has mapped and resident.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		t.Fatal("/proc/self/status has no RssFile")
	}
	n, err := strconv.Atoi(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
