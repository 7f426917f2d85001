package memory

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mincore sets bit 0 of vec[i] when page i of data is in host memory, as
// mincore(2) does; package unix has no wrapper for it. data is page aligned and
// not empty, and vec has a byte for each of its pages.
func mincore(data, vec []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE,
		uintptr(unsafe.Pointer(unsafe.SliceData(data))),
		uintptr(len(data)),
		uintptr(unsafe.Pointer(unsafe.SliceData(vec))))
	if errno != 0 {
		return errno
	}
	return nil
}

// address is where data lies in this process.
func address(data []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data)))) }

// mapFixed maps fd from off on in place of what is mapped at ram, which is page aligned. It
// stays part of the mapping that ram was cut from, as far as unmapping goes.
func mapFixed(ram []byte, fd int, off int64, prot, flags int) error {
	_, err := unix.MmapPtr(fd, off, unsafe.Pointer(unsafe.SliceData(ram)), uintptr(len(ram)), prot, flags|unix.MAP_FIXED)
	if err == nil {
		notInDumps(ram)
	}
	return err
}
