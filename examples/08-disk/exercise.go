package main

import "sync"

// The exercises of lesson 8. Change what stands here, then: go test ./examples/08-disk -exercise

// Exercise 1: the name of the disk. A driver that asks for it (VIRTIO_BLK_T_GET_ID) gives room for 20 bytes, in segments as it likes. Put the name there
// with zeros behind it, 20 bytes in all, and return how many bytes were written. A name of 20 bytes has no zero, a longer one is cut. When it works, the
// guest finds the name in /sys/block/vda/serial.
func identify(to [][]byte, name string) uint32 {
	return 0
}

// Exercise 2: a disk that is only to be read. features tells the driver so, and a driver that behaves well does not write. permitted says whether a request of
// this type may be served at all, for those that do not. The types that change a disk are in virtio 1.2, 5.2.6.
func features(readOnly bool) uint64 { return featureFlush }

func permitted(kind uint32, readOnly bool) bool { return true }

// Exercise 3: a disk with a cache. Real disks take writes into their memory, and are quick to say that they are done; what a flush
// has not yet brought to the platter, a power cut takes away. Write goes to the cache, read must find what was written, and Sync brings all of it to the
// storage below and has that sync. Several goroutines may be at it at once.
type cache struct {
	mu    sync.Mutex
	below storage
}

func newCache(below storage) storage { return &cache{below: below} }

func (c *cache) ReadAt(p []byte, off int64) (int, error)  { return c.below.ReadAt(p, off) }
func (c *cache) WriteAt(p []byte, off int64) (int, error) { return c.below.WriteAt(p, off) }
func (c *cache) Sync() error                              { return nil }
