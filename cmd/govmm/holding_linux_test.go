//go:build linuxtest

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A holding is what a monitor holds of its host.
type holding struct {
	memory  int // private bytes, without the guest's RAM
	files   int
	threads int
}

// most takes the larger of each.
func (h holding) most(o holding) holding {
	return holding{max(h.memory, o.memory), max(h.files, o.files), max(h.threads, o.threads)}
}

func holdingOf(t *testing.T, pid, ram int) holding {
	t.Helper()
	dir := filepath.Join("/proc", fmt.Sprint(pid))
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		t.Fatal(err)
	}
	return holding{memory: monitorMemory(t, filepath.Join(dir, "smaps"), ram), files: len(files), threads: len(threads)}
}

// goHeap is where the heap of Go programs begins.
const goHeap = 0xc000000000

// monitorMemory adds up the private memory in a monitor's mappings, but for those of the guest's RAM: neighbours that have its size
// together.
func monitorMemory(t *testing.T, smaps string, ram int) (total int) {
	t.Helper()
	f, err := os.Open(smaps)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var start, end uint64
	private, found := 0, false
	next := func() {
		if start < goHeap || end-start < uint64(ram) || start>>32 == goHeap>>32 {
			total += private
		} else {
			found = true
		}
		private = 0
	}
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(s.Text())
		if !strings.HasSuffix(words[0], ":") {
			from, to := addresses(words[0])
			if from != end || words[1] != "rw-p" {
				next()
				start = from
			}
			end = to
		} else if strings.HasPrefix(words[0], "Private_") {
			kib, err := strconv.Atoi(words[1])
			if err != nil {
				t.Fatal(err)
			}
			private += kib << 10
		}
	}
	next()
	if !found {
		t.Errorf("%s has no guest RAM of %d bytes", smaps, ram)
	}
	return total
}

// addresses reads a range of /proc/PID/smaps.
func addresses(text string) (from, to uint64) {
	first, second, _ := strings.Cut(text, "-")
	from, _ = strconv.ParseUint(first, 16, 64)
	to, _ = strconv.ParseUint(second, 16, 64)
	return from, to
}
