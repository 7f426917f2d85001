package trace

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// DefaultRecords is how many events a ring keeps if nothing else is asked for: more than boots of stock kernels have.
	DefaultRecords = 1 << 17

	// MaxRecords bounds a ring to 192 MiB.
	MaxRecords = 1 << 22

	// RecordSize is what one event takes of memory, in bytes.
	RecordSize = 48
)

// A Ring keeps the last events that were added to it. It is for one goroutine at a time.
type Ring struct {
	records []Record
	next    int    // index of the oldest, and of the next to come
	added   uint64 // since the beginning
}

func newRing(n int) (*Ring, error) {
	records, err := mapRecords(n)
	return &Ring{records: records}, err
}

// Add copies an event into the ring, over the oldest one if the ring is full. It does not allocate.
func (r *Ring) Add(e *Record) {
	r.records[r.next] = *e
	if r.next++; r.next == len(r.records) {
		r.next = 0
	}
	r.added++
}

// Lost is how many events were overwritten.
func (r *Ring) Lost() uint64 { return r.added - uint64(r.Len()) }

// Len is how many events the ring has.
func (r *Ring) Len() int { return int(min(r.added, uint64(len(r.records)))) }

// At returns the event number i of Len, counted from the oldest.
func (r *Ring) At(i int) *Record {
	if r.added > uint64(len(r.records)) {
		i += r.next
		if i >= len(r.records) {
			i -= len(r.records)
		}
	}
	return &r.records[i]
}

// A Config says what a Recorder keeps.
type Config struct {
	CPUs    int       // vCPUs, each of which gets a ring
	Records int       // events in each ring, up to MaxRecords; 0 means DefaultRecords
	Start   time.Time // what times are counted from; it must have a monotonic reading (package time)
}

// A Recorder keeps the last events of a machine: Records for each vCPU and as many for all devices. That takes up to
// RecordSize*Records*(CPUs+1) bytes, as events come: memory of a ring that is not reached is not touched.
type Recorder struct {
	start time.Time
	cpus  []*Ring

	mu      sync.Mutex // for devices
	devices *Ring
}

// NewRecorder makes an empty recorder. The caller closes it.
func NewRecorder(c Config) (*Recorder, error) {
	if c.Records == 0 {
		c.Records = DefaultRecords
	}
	if c.CPUs < 1 || c.Records < 1 || c.Records > MaxRecords {
		return nil, fmt.Errorf("trace: %d records for each of %d vCPUs; from 1 to %d records can be kept", c.Records, c.CPUs, MaxRecords)
	}
	r := &Recorder{start: c.Start}
	var err error
	if r.devices, err = newRing(c.Records); err != nil {
		return nil, err
	}
	for range c.CPUs {
		ring, err := newRing(c.Records)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.cpus = append(r.cpus, ring)
	}
	return r, nil
}

// Close gives the memory of the rings back. No vCPU runs any more; what a device records from then on is left out: input of a console may come
// late. Closing twice is allowed.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, ring := range append(r.cpus, r.devices) {
		if ring.records != nil {
			errs = append(errs, unmapRecords(ring.records))
			ring.records, ring.next = nil, 0
		}
	}
	return errors.Join(errs...)
}

// Now returns the time on the recorder's clock, which is the monotonic one since Config.Start.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// CPUs returns the number of vCPUs that there are rings for.
func (r *Recorder) CPUs() int { return len(r.cpus) }

// CPU returns the ring of vCPU i, for the goroutine that runs it.
func (r *Recorder) CPU(i int) *Ring { return r.cpus[i] }

// Add records an event of a device. It may be called from any goroutine, and does not allocate. After Close it does nothing.
func (r *Recorder) Add(e *Record) {
	r.mu.Lock()
	if r.devices.records != nil {
		r.devices.Add(e)
	}
	r.mu.Unlock()
}
