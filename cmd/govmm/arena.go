package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// An arena takes bytes that the process holds for a while: outside the heap, so that they are given back whole, and without being copied when they
// become more.
type arena struct {
	mapping []byte
	n       int
}

// arenaSize is how much an arena has room for to begin with. What is not written to takes no memory.
const arenaSize = 64 << 20

func newArena() (*arena, error) {
	mapping, err := unix.Mmap(-1, 0, arenaSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &arena{mapping: mapping}, nil
}

// bytes gives what was written. It is valid until the next call of another method.
func (a *arena) bytes() []byte { return a.mapping[:a.n] }

// Write implements io.Writer.
func (a *arena) Write(p []byte) (int, error) {
	for len(a.mapping)-a.n < len(p) {
		if err := a.grow(); err != nil {
			return 0, err
		}
	}
	copy(a.mapping[a.n:], p)
	a.n += len(p)
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom: files are read to where they are to be.
func (a *arena) ReadFrom(r io.Reader) (int64, error) {
	for begin := a.n; ; {
		if a.n == len(a.mapping) {
			if err := a.grow(); err != nil {
				return int64(a.n - begin), err
			}
		}
		n, err := r.Read(a.mapping[a.n:])
		a.n += n
		switch {
		case err == io.EOF:
			return int64(a.n - begin), nil
		case err != nil:
			return int64(a.n - begin), err
		}
	}
}

func (a *arena) grow() error {
	mapping, err := unix.Mremap(a.mapping, 2*len(a.mapping), unix.MREMAP_MAYMOVE)
	if err != nil {
		return os.NewSyscallError("mremap", err)
	}
	a.mapping = mapping
	return nil
}

func (a *arena) close() { _ = unix.Munmap(a.mapping) }
