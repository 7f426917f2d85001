//go:build linuxtest

package main

import (
	"bufio"
	"errors"
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
	h, err := tryHolding(pid, ram)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// tryHolding is holdingOf for a monitor that may end meanwhile.
func tryHolding(pid, ram int) (holding, error) {
	dir := filepath.Join("/proc", fmt.Sprint(pid))
	files, err1 := os.ReadDir(filepath.Join(dir, "fd"))
	threads, err2 := os.ReadDir(filepath.Join(dir, "task"))
	memory, err3 := monitorMemory(filepath.Join(dir, "smaps"), ram)
	return holding{memory: memory, files: len(files), threads: len(threads)}, errors.Join(err1, err2, err3)
}

// goHeap is where the heap of Go programs begins.
const goHeap = 0xc000000000

// monitorMemory adds up the private memory in a monitor's mappings, but for those of the guest's RAM: neighbours that have its size
// together.
func monitorMemory(smaps string, ram int) (total int, err error) {
	f, err := os.Open(smaps)
	if err != nil {
		return 0, err
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
				return 0, err
			}
			private += kib << 10
		}
	}
	next()
	if !found {
		return 0, fmt.Errorf("%s has no guest RAM of %d bytes", smaps, ram)
	}
	return total, nil
}

// addresses reads a range of /proc/PID/smaps.
func addresses(text string) (from, to uint64) {
	first, second, _ := strings.Cut(text, "-")
	from, _ = strconv.ParseUint(first, 16, 64)
	to, _ = strconv.ParseUint(second, 16, 64)
	return from, to
}
