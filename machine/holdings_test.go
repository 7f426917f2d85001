//go:build kvmtest || linuxtest

package machine

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// holdings are what a machine must give back.
type holdings struct {
	goroutines, descriptors int
	vcpus                   int // mappings of them
	space                   int // bytes of address space, guest RAM and the Go heap among them
}

func hold(t *testing.T) (h holdings) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(statm), &h.space); err != nil {
		t.Fatal(err)
	}
	h.space *= os.Getpagesize()
	h.goroutines, h.descriptors = runtime.NumGoroutine(), len(fds)
	h.vcpus = strings.Count(string(maps), "kvm-vcpu")
	return h
}

// within reports whether h is no more than before, the heap's growth apart: it is less than a guest's RAM.
func (h holdings) within(before holdings) bool {
	return h.goroutines == before.goroutines && h.descriptors == before.descriptors && h.vcpus == before.vcpus &&
		h.space-before.space < DefaultMemory
}

// checkHoldings holds that what was not there before is gone.
func checkHoldings(t *testing.T, before holdings) {
	t.Helper()
	after := hold(t)
	for range 100 { // goroutines that have done their last need a moment to be gone
		if after.within(before) {
			return
		}
		time.Sleep(10 * time.Millisecond)
		after = hold(t)
	}
	t.Errorf("before %+v, after %+v", before, after)
}
