package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxEvents is how many events a page can be made of: as many as four full rings have.
	MaxEvents = 4 << 22

	mostMarks   = 120_000 // on the timeline
	mostStrings = 1 << 20 // different names or details that are kept: each request of a disk may have one of its own
	mostTracks  = 1024
)

// unkept stands for all further ones.
const unkept = "…"

// A mark is an event on the timeline, or several that are close together.
type mark struct {
	begin, end time.Duration
	busy       time.Duration // of the events, without what is between them
	name       uint32        // of the longest event
	detail     uint32
	data       string
	count      uint32
	longest    time.Duration
}

// A row is a thread of the trace.
type row struct {
	id    int
	name  string
	marks []mark
}

// A timeline keeps the events of a trace.
type timeline struct {
	rows           map[int]*row
	names, details strings32
	events         int
	bins           map[string]*histogram // of exits, by device; all of them under ""
}

func newTimeline() *timeline {
	return &timeline{rows: make(map[int]*row), names: newStrings(), details: newStrings(), bins: make(map[string]*histogram)}
}

// strings32 gives each of a number of strings a number.
type strings32 struct {
	numbers map[string]uint32
	list    []string
}

func newStrings() strings32 { return strings32{numbers: make(map[string]uint32), list: []string{}} }

func (s *strings32) number(text string) uint32 {
	if n, ok := s.numbers[text]; ok {
		return n
	}
	if len(s.list) >= mostStrings && text != unkept {
		return s.number(unkept)
	}
	n := uint32(len(s.list))
	s.list = append(s.list, text)
	s.numbers[text] = n
	return n
}

func (t *timeline) row(id int) *row {
	r := t.rows[id]
	if r == nil && len(t.rows) < mostTracks {
		r = &row{id: id}
		t.rows[id] = r
	}
	return r
}

func (t *timeline) add(e *event) error {
	r := t.row(e.Thread)
	switch {
	case r == nil:
		return fmt.Errorf("more than %d threads", mostTracks)
	case e.Name == "thread_name":
		r.name = e.Args.Name
		return nil
	case !known(e.Category):
		return nil
	}
	if t.events++; t.events > MaxEvents {
		return fmt.Errorf("more than %d events, too many for a page; record fewer with --trace FILE,records=N", MaxEvents)
	}
	r.marks = append(r.marks, mark{
		begin: e.begin(), end: e.end(), busy: e.took(), longest: e.took(), count: 1,
		name: t.names.number(e.Name), detail: t.details.number(e.detail()), data: e.Args.Data,
	})
	if e.Category == exitEvent {
		t.bin("", e.took())
		t.bin(e.Name, e.took())
	}
	return nil
}

// known reports whether the events of a category are package trace's.
func known(category string) bool {
	switch category {
	case phaseEvent, exitEvent, doorbellEvent, interruptEvent, requestEvent:
		return true
	}
	return false
}

func (t *timeline) bin(name string, took time.Duration) {
	h := t.bins[name]
	if h == nil {
		if len(t.bins) >= maxNames {
			return
		}
		h = new(histogram)
		t.bins[name] = h
	}
	h[bin(took)]++
}

// detail is what the page says of an event beside its name, time and data.
func (e *event) detail() string {
	switch e.Category {
	case exitEvent:
		if e.Args.Addr == "" {
			return ""
		}
		where := "memory"
		if e.Args.Reason == "KVM_EXIT_IO" {
			where = "port"
		}
		return fmt.Sprintf("%s %s %s, %s", e.Args.Dir, where, e.Args.Addr, byteCount(e.Args.Size))
	case requestEvent:
		text := byteCount(e.Args.Size)
		if e.Args.Offset != "" && e.Args.Offset != "0x0" {
			text += " at " + e.Args.Offset
		}
		if e.Args.Status != 0 {
			text += fmt.Sprintf(", failed with status %d", e.Args.Status)
		}
		return text + e.queue()
	case interruptEvent:
		switch {
		case e.Args.Vector != nil:
			return fmt.Sprintf("MSI-X vector %d", *e.Args.Vector)
		case e.Args.GSI != nil:
			return fmt.Sprintf("line %d", *e.Args.GSI)
		}
	}
	return strings.TrimPrefix(e.queue(), ", ")
}

func byteCount(n uint64) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// queue ends a detail.
func (e *event) queue() string {
	if e.Args.Queue == nil {
		return ""
	}
	return fmt.Sprintf(", queue %d", *e.Args.Queue)
}

// merge makes marks of the events so that there are no more than most, and reports whether it had to.
func (t *timeline) merge(most int, begin, end time.Duration) bool {
	for _, r := range t.rows {
		slices.SortStableFunc(r.marks, func(a, b mark) int { return cmp.Compare(a.begin, b.begin) })
	}
	merged := false
	for width := max((end-begin)>>22, 1); t.count() > most; width *= 2 {
		for _, r := range t.rows {
			r.merge(begin, width)
		}
		merged = true
		if width > end-begin {
			break // one mark for each row
		}
	}
	return merged
}

func (t *timeline) count() int {
	n := 0
	for _, r := range t.rows {
		n += len(r.marks)
	}
	return n
}

// merge makes one of the marks that begin in the same span of a width.
func (r *row) merge(begin, width time.Duration) {
	kept := r.marks[:0]
	for _, m := range r.marks {
		if n := len(kept); n > 0 && (kept[n-1].begin-begin)/width == (m.begin-begin)/width {
			kept[n-1].join(m)
			continue
		}
		kept = append(kept, m)
	}
	r.marks = kept
}

func (m *mark) join(o mark) {
	m.end = max(m.end, o.end)
	m.busy += o.busy
	m.count += o.count
	if o.longest > m.longest {
		m.longest, m.name, m.detail, m.data = o.longest, o.name, o.detail, o.data
	}
}
