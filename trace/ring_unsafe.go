package trace

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapRecords gives room for n records outside the Go heap: there it would make the garbage collector work at the start, when it comes into
// being, and let the heap grow later. What is not used is not touched.
func mapRecords(n int) ([]Record, error) {
	p, err := unix.Mmap(-1, 0, n*RecordSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("trace: %d bytes for records: %w", n*RecordSize, err)
	}
	return unsafe.Slice((*Record)(unsafe.Pointer(unsafe.SliceData(p))), n), nil
}

// unmapRecords undoes mapRecords.
func unmapRecords(r []Record) error {
	return unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(r))), len(r)*RecordSize))
}

// It fails to compile if a Record has another size.
var _ = [1]struct{}{}[unsafe.Sizeof(Record{})-RecordSize]
