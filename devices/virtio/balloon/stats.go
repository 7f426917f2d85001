package balloon

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"govmm/devices/virtio"
)

// A Stat is the tag of a memory statistic (5.5.6.4).
type Stat uint16

// The statistics of virtio 1.2; the device ignores others.
const (
	StatSwapIn         Stat = iota // VIRTIO_BALLOON_S_SWAP_IN: bytes swapped in
	StatSwapOut                    // VIRTIO_BALLOON_S_SWAP_OUT: bytes swapped out
	StatMajorFaults                // VIRTIO_BALLOON_S_MAJFLT: page faults that needed I/O
	StatMinorFaults                // VIRTIO_BALLOON_S_MINFLT: other page faults
	StatFree                       // VIRTIO_BALLOON_S_MEMFREE: bytes used for nothing
	StatTotal                      // VIRTIO_BALLOON_S_MEMTOT: bytes that there are
	StatAvailable                  // VIRTIO_BALLOON_S_AVAIL: bytes that programs could have without swapping
	StatCaches                     // VIRTIO_BALLOON_S_CACHES: bytes that can be had back without I/O
	StatHugePageAllocs             // VIRTIO_BALLOON_S_HTLB_PGALLOC: huge pages allocated
	StatHugePageFails              // VIRTIO_BALLOON_S_HTLB_PGFAIL: huge pages that could not be

	numStats
)

// Stats are the memory statistics that a guest gave, all of them its own word.
type Stats struct {
	// Known has bit s set if the driver gave statistic s. Drivers choose which they give.
	Known uint32 `json:"known"`

	// Values are the statistics by their Stat; what is not known is 0.
	Values [numStats]uint64 `json:"values"`
}

// Get returns a statistic and whether the driver gave it.
func (s Stats) Get(stat Stat) (value uint64, ok bool) {
	if stat >= numStats || s.Known>>stat&1 == 0 {
		return 0, false
	}
	return s.Values[stat], true
}

const (
	entrySize = 10 // struct virtio_balloon_stat (5.5.6.3): a tag of 16 bits, a value of 64

	// maxEntries bounds what is read of a buffer. Linux gives 16 at most.
	maxEntries = 64
)

// parse reads an array of struct virtio_balloon_stat, of any bytes. Of entries with the same tag the last
// counts; unknown tags and a part of an entry at the end do not.
func parse(p []byte) (s Stats) {
	for ; len(p) >= entrySize; p = p[entrySize:] {
		tag := Stat(binary.LittleEndian.Uint16(p))
		if tag < numStats {
			s.Known |= 1 << tag
			s.Values[tag] = binary.LittleEndian.Uint64(p[2:])
		}
	}
	return s
}

// ErrNoStats says that the driver in the guest gives no statistics.
var ErrNoStats = errors.New("virtio balloon: the driver gives no statistics")

// Stats asks the driver for memory statistics and returns those that it collects after the call. It waits for
// the guest, also for a driver that is not there yet, until ctx ends; the error is then ctx's. It is ErrNoStats if
// the driver that is there has not negotiated VIRTIO_BALLOON_F_STATS_VQ. Calls at the same time may share an answer.
func (d *Device) Stats(ctx context.Context) (Stats, error) {
	v := &d.stats
	v.mu.Lock()
	defer v.mu.Unlock()
	// A question that the driver may be working on is not new enough.
	question := v.asked + 1
	v.wanted = max(v.wanted, question)
	signal(v.ask)
	for {
		switch {
		case v.answered >= question:
			return v.last, nil
		case v.absent:
			return Stats{}, ErrNoStats
		case ctx.Err() != nil:
			return Stats{}, ctx.Err()
		}
		changed := v.changed
		if changed == nil {
			changed = make(chan struct{})
			v.changed = changed
		}
		v.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		v.mu.Lock()
	}
}

// LastStats returns the statistics that the driver gave last. Nothing in them is known if it never gave any.
func (d *Device) LastStats() Stats {
	d.stats.mu.Lock()
	defer d.stats.mu.Unlock()
	return d.stats.last
}

// A survey is the conversation about statistics. Questions are numbered from 1 on; the device has put
// the first asked of them, of which the driver has answered the first answered, and somebody waits for the answer
// to number wanted or an earlier one.
type survey struct {
	// ask holds a token when wanted has grown.
	ask chan struct{}

	mu                      sync.Mutex
	wanted, asked, answered uint64
	absent                  bool          // there is a driver that gives none
	last                    Stats         // that the driver gave
	changed                 chan struct{} // closed at the next change; nil when nobody waits for it

	raw [maxEntries * entrySize]byte // for the goroutine that serves the queue
}

// begin is called when Run starts. A new session's driver does not know what the one before was asked.
func (v *survey) begin(newSession, available bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if newSession {
		v.asked = v.answered
	}
	v.absent = !available
	v.wake()
}

// end is called when Run returns: nobody knows what the next driver can do.
func (v *survey) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.absent = false
}

// wake lets all who wait look again. It is called with mu held.
func (v *survey) wake() {
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

// serveStats holds the driver's one buffer and gives it back to ask for new statistics, which come in the
// next buffer (5.5.6.3).
func (d *Device) serveStats(ctx context.Context, q *virtio.Queue) error {
	v := &d.stats
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		n, _ := c.Read(v.raw[:]) // an empty buffer is legal
		v.receive(v.raw[:n])
		for !v.question() {
			select {
			case <-v.ask:
			case <-ctx.Done():
				// The next Run finds it again.
				q.Unpop(c)
				return ctx.Err()
			}
		}
		q.Push(c, 0)
	}
}

// receive takes the content of a buffer. It is the answer only to a question: the first buffer of a driver is
// empty or was never written to, and one that is found again after a pause is old.
func (v *survey) receive(p []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.answered == v.asked {
		return
	}
	v.answered = v.asked
	v.last = parse(p)
	v.wake()
}

// question reports whether the driver is to be asked, and counts that as done.
func (v *survey) question() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.wanted <= v.asked {
		return false
	}
	v.asked = v.wanted
	return true
}
