package netif

import "govmm/devices/virtio"

// Held are receive buffers in the order in which they came, and all their segments. The lists are parts of arrays that never grow:
// buffers leave at the front and come at the back, and what is left moves to the beginning now and then.
type held struct {
	chains   []*virtio.Chain
	sizes    []int    // in bytes, for each chain
	segments [][]byte // of all chains
	room     int      // the sum of sizes

	limit       int // of segments before another chain is held
	allChains   []*virtio.Chain
	allSizes    []int
	allSegments [][]byte
}

// init makes room for the chains of a queue, none of which has more than size segments.
func (h *held) init(size int) {
	h.limit = size
	h.allChains, h.allSizes, h.allSegments = make([]*virtio.Chain, 2*size), make([]int, 2*size), make([][]byte, 4*size)
	h.compact()
}

// full reports whether no other chain is to be added.
func (h *held) full() bool { return len(h.segments) >= h.limit }

// add adds c, which has room. full is false.
func (h *held) add(c *virtio.Chain) {
	s := c.Writable()
	if len(h.chains) == cap(h.chains) || len(s) > cap(h.segments)-len(h.segments) {
		h.compact()
	}
	n := int(c.WritableLen())
	h.chains, h.sizes, h.segments = append(h.chains, c), append(h.sizes, n), append(h.segments, s...)
	h.room += n
}

// compact moves the lists to the beginning of their arrays.
func (h *held) compact() {
	h.chains = append(h.allChains[:0], h.chains...)
	h.sizes = append(h.allSizes[:0], h.sizes...)
	h.segments = append(h.allSegments[:0], h.segments...)
}

// drop forgets the first k chains, which are the driver's again.
func (h *held) drop(k int) {
	for _, n := range h.sizes[:k] {
		h.room -= n
		for n > 0 {
			n -= len(h.segments[0])
			h.segments = h.segments[1:]
		}
	}
	h.chains, h.sizes = h.chains[k:], h.sizes[k:]
}

// put writes the byte at offset off of what the segments are together.
func (h *held) put(off int, b byte) {
	for _, s := range h.segments {
		if off < len(s) {
			s[off] = b
			return
		}
		off -= len(s)
	}
}

// unpop gives all chains back to q, unused.
func (h *held) unpop(q *virtio.Queue) {
	for i := len(h.chains) - 1; i >= 0; i-- {
		q.Unpop(h.chains[i])
	}
	h.drop(len(h.chains))
}
