package memory

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrCongruence says that a place in a file and an address in RAM do not lie at the
// same distance from the beginning of a page, so that no mapping can join them.
var ErrCongruence = errors.New("memory: file offset and address differ within the page")

// MapFile puts data, which is the content of f from offset off on, into RAM at guest-physical address addr,
// as WriteAt would, but without reading it: pages are f's in the host's page
// cache, shared by all who map them, until the guest or the monitor writes to one, which then
// becomes a private copy. Only what fills whole pages is mapped; the parts of pages at
// either end are copied from data.
//
// The host must not change or shorten the file while the RAM is in use: changes would show in
// pages that nobody has written to, and a page beyond the end is gone, for which KVM_RUN
// fails with EFAULT. MapFile must not run at the same time as any access to that part of RAM.
//
// The error is ErrCongruence, an *AccessError, or the host's.
func (m *Memory) MapFile(f *os.File, off, addr uint64, data []byte) error {
	page := uint64(os.Getpagesize())
	if off%page != addr%page {
		return ErrCongruence
	}
	n := uint64(len(data))
	ram, err := m.WriteSlice(addr, n)
	if err != nil {
		return err
	}
	head := min((page-addr%page)%page, n)
	body := (n - head) / page * page
	if body > 0 {
		if err := mapOver(ram[head:head+body], f, int64(off+head)); err != nil {
			return fmt.Errorf("memory: mapping %s into guest RAM: %w", f.Name(), os.NewSyscallError("mmap", err))
		}
	}
	copy(ram[:head], data)
	copy(ram[head+body:], data[head+body:])
	return nil
}

// mapOver replaces ram, whole pages, by a private mapping of as much of f.
func mapOver(ram []byte, f *os.File, off int64) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var mapErr error
	err = c.Control(func(fd uintptr) {
		mapErr = mapFixed(ram, int(fd), off, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	})
	return errors.Join(err, mapErr)
}
