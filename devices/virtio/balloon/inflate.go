package balloon

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"govmm/devices/virtio"
)

const (
	pfnSize = 4 // of a page frame number in a request (5.5.6)

	// batchPages is how many pages are looked at together. Linux sends 256 in one request, FreeBSD 1024.
	batchPages = 1024

	// maxBatches bounds the work of one request, for which a reset waits. What comes after that is ignored.
	maxBatches = 16
)

// A batch is the storage for a part of a request.
type batch struct {
	raw  [batchPages * pfnSize]byte
	pfns [batchPages]uint32
}

// inflate discards the pages that the guest puts into the balloon.
func (d *Device) inflate(ctx context.Context, q *virtio.Queue, memory virtio.Memory) error {
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		d.inflateChain(c, memory)
		q.Push(c, 0)
	}
}

// inflateChain serves one request.
func (d *Device) inflateChain(c *virtio.Chain, memory virtio.Memory) {
	for range maxBatches {
		pfns := d.batch.read(c)
		if len(pfns) == 0 {
			return
		}
		d.discardPages(pfns, memory)
	}
}

// read returns the next pages of a request, in ascending order, and none at its end. A part of a page frame number
// at the end is none.
func (b *batch) read(c *virtio.Chain) []uint32 {
	n, _ := c.Read(b.raw[:]) // the error is the end
	pfns := b.pfns[:n/pfnSize]
	for i := range pfns {
		pfns[i] = binary.LittleEndian.Uint32(b.raw[i*pfnSize:])
	}
	// Guests allocate pages in whatever order, and each run of neighbours is one call of the host's.
	slices.Sort(pfns)
	return pfns
}

// discardPages discards the pages with the given numbers, which ascend and may repeat.
func (d *Device) discardPages(pfns []uint32, memory virtio.Memory) {
	for len(pfns) > 0 {
		first, pages := uint64(pfns[0]), uint64(0)
		n := 0
		for n < len(pfns) && uint64(pfns[n]) <= first+pages {
			pages = uint64(pfns[n]) - first + 1
			n++
		}
		pfns = pfns[n:]
		d.discardRun(first, pages, memory)
	}
}

// discardRun discards neighbouring pages, as far as they are RAM.
func (d *Device) discardRun(first, pages uint64, memory virtio.Memory) {
	window, err := memory.WriteSlice(first<<pageShift, pages<<pageShift)
	if err == nil {
		d.giveBack(window)
		return
	}
	if pages > 1 {
		// RAM begins or ends in the run, or goes on in another region.
		for i := range pages {
			d.discardRun(first+i, 1, memory)
		}
		return
	}
	if n, ok := d.outside.Allow(time.Now()); ok {
		d.log.Warn("virtio balloon: the guest inflates what is not RAM", "err", err, "suppressed", n)
	}
}
