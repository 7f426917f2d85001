package bootimage

import (
	"syscall"
	"testing"
)

// untouched returns size bytes that cost no memory and fault when touched: a plan is
// made from sizes alone.
func untouched(t *testing.T, size uint64) []byte {
	t.Helper()
	b, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS|syscall.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	return b
}
