// Package virtiotest tests virtio devices: fake guest memory, the driver's
// side of rings ([Ring]) and of the MMIO registers ([Driver]), and a
// conformance suite that every device passes ([TestDevice]).
//
// The driver's side is able to follow the rules and to break them. It is for
// tests only: what a test asks for wrongly, such as an address outside of the
// fake memory, makes it panic.
package virtiotest

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// PageSize is the granularity of guest RAM.
const PageSize = 4096

// Memory is one region of fake guest RAM. It is a virtio.Memory.
type Memory struct {
	base uint64
	data []byte
	next uint64 // address of the next Alloc
}

// NewMemory returns zeroed RAM from base on. Both arguments are rounded up to
// pages. It lies on the Go heap, so that the race detector sees a device that
// touches it without synchronizing with the driver.
func NewMemory(base, size uint64) *Memory {
	base, size = roundUp(base, PageSize), roundUp(size, PageSize)
	return &Memory{base: base, data: make([]byte, size), next: base}
}

// NewRacyMemory is NewMemory outside of what the race detector watches, as the
// RAM of real guests is: for drivers that break the rules so that the device
// cannot help touching the same bytes from several goroutines.
func NewRacyMemory(t testing.TB, base, size uint64) *Memory {
	t.Helper()
	base, size = roundUp(base, PageSize), roundUp(size, PageSize)
	data, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(data) })
	return &Memory{base: base, data: data, next: base}
}

// Reset makes all of the memory zero and unused.
func (m *Memory) Reset() {
	clear(m.data)
	m.next = m.base
}

func roundUp(n, align uint64) uint64 { return (n + align - 1) / align * align }

// ReadSlice implements virtio.Memory.
func (m *Memory) ReadSlice(addr, n uint64) ([]byte, error) {
	size := uint64(len(m.data))
	if addr < m.base || addr-m.base > size || n > size-(addr-m.base) {
		return nil, fmt.Errorf("no RAM at %#x, %d bytes", addr, n)
	}
	off := addr - m.base
	return m.data[off : off+n : off+n], nil
}

// WriteSlice implements virtio.Memory.
func (m *Memory) WriteSlice(addr, n uint64) ([]byte, error) { return m.ReadSlice(addr, n) }

// Base returns the address of the first byte.
func (m *Memory) Base() uint64 { return m.base }

// End returns the address behind the last byte.
func (m *Memory) End() uint64 { return m.base + uint64(len(m.data)) }

// Bytes returns the n bytes at addr, and panics if they are not RAM.
func (m *Memory) Bytes(addr, n uint64) []byte {
	p, err := m.ReadSlice(addr, n)
	if err != nil {
		panic("virtiotest: " + err.Error())
	}
	return p
}

// Alloc returns the address of n unused bytes. It panics when RAM is used up.
func (m *Memory) Alloc(n, align uint64) uint64 {
	addr := roundUp(m.next, align)
	m.Bytes(addr, n)
	m.next = addr + n
	return addr
}
