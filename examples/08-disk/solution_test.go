package main

import (
	"maps"
	"slices"
	"sync"
)

// Answers to the exercises. Yours may be others.

func identifySolution(to [][]byte, name string) uint32 {
	id := make([]byte, 20)
	copy(id, name)
	n := 0
	for _, s := range to {
		n += copy(s, id[n:])
	}
	return uint32(n)
}

func featuresSolution(readOnly bool) uint64 {
	if readOnly {
		return featureFlush | featureReadOnly
	}
	return featureFlush
}

func permittedSolution(kind uint32, readOnly bool) bool {
	const discard, writeZeroes, secureErase = 11, 13, 14
	return !readOnly || !slices.Contains([]uint32{out, discard, writeZeroes, secureErase}, kind)
}

// cacheSolution keeps bytes. Kept pages would be quicker, and would have to be read first where a write does not fill them.
type cacheSolution struct {
	mu    sync.Mutex
	below storage
	dirty map[int64]byte
}

func newCacheSolution(below storage) storage {
	return &cacheSolution{below: below, dirty: make(map[int64]byte)}
}

func (c *cacheSolution) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.below.ReadAt(p, off)
	for i := range p[:n] {
		if b, ok := c.dirty[off+int64(i)]; ok {
			p[i] = b
		}
	}
	return n, err
}

func (c *cacheSolution) WriteAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range p {
		c.dirty[off+int64(i)] = b
	}
	return len(p), nil
}

func (c *cacheSolution) Sync() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, off := range slices.Sorted(maps.Keys(c.dirty)) {
		if _, err := c.below.WriteAt([]byte{c.dirty[off]}, off); err != nil {
			return err // what is still dirty is tried again by the next Sync
		}
	}
	if err := c.below.Sync(); err != nil {
		return err
	}
	clear(c.dirty)
	return nil
}
