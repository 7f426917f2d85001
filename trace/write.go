package trace

import (
	"bufio"
	"cmp"
	"io"
	"slices"
	"time"
)

// Labels are the names of what records have numbers for.
type Labels struct {
	Title     string             // of the whole, for a reader
	Devices   []string           // Record.Device is an index; the first is for what no device answers
	Reason    func(uint8) string // of an exit
	Operation func(uint8) string // of a request
	Phases    []Phase            // in the order of time
	About     []About            // what else a reader should know
}

// A Phase ends when a stage of the start is reached, and the next begins.
type Phase struct {
	Stage string
	At    time.Time // with a monotonic reading
}

// An About is a fact about the trace: the monitor's version, the guest's size.
type About struct{ Name, Value string }

// Threads of the file. They are not the host's: a reader shows each as a row.
const (
	phasesThread = 1
	cpuThread    = 100  // of vCPU 0
	deviceThread = 1000 // of device 0
	lanes        = 64   // threads of a device: as many as it serves requests at a time, up to this
)

// Write writes what was recorded, when no vCPU runs any more; a device that still records waits. Beside the rings it needs memory for a buffer,
// and 8 bytes for each event of a device, which it puts in order.
func (r *Recorder) Write(to io.Writer, l Labels) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &writer{out: bufio.NewWriterSize(to, 64<<10), labels: &l, recorder: r}
	w.begin()
	w.phases()
	for i, ring := range r.cpus {
		w.exits(i, ring)
	}
	w.devices(r.devices)
	w.raw("\n]}\n")
	return w.out.Flush()
}

// devices writes the events of all devices, in the order in which they began: requests are recorded when they end.
func (w *writer) devices(ring *Ring) {
	events := make([]*Record, ring.Len())
	for i := range events {
		events[i] = ring.At(i)
	}
	slices.SortStableFunc(events, func(a, b *Record) int { return cmp.Compare(a.Start, b.Start) })
	free := make([]laneTimes, len(w.labels.Devices))
	for _, e := range events {
		d := min(int(e.Device), len(free)-1)
		lane := 0
		if e.Kind == Request {
			lane = free[d].take(e.Start, e.Start+e.Duration)
		}
		w.named(d, lane)
		w.deviceEvent(e, d, lane)
	}
}

// laneTimes are the ends of the last requests in the lanes of a device. Requests that overlap are in lanes of their own,
// because the slices of a thread must nest.
type laneTimes []time.Duration

// take returns the first lane that is free from start on, and has it taken until end.
func (l *laneTimes) take(start, end time.Duration) int {
	for i, busy := range *l {
		if busy <= start {
			(*l)[i] = end
			return i
		}
	}
	if len(*l) < lanes {
		*l = append(*l, end)
		return len(*l) - 1
	}
	return lanes - 1 // no device of ours has as many
}
