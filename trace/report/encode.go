package report

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// A track is a row of the timeline, in columns: an element of each for one mark, in the order of time.
type track struct {
	ID      int             `json:"id"`
	Name    string          `json:"name"`
	Begins  []time.Duration `json:"t"` // nanoseconds since the mark before
	Lengths []time.Duration `json:"d"` // nanoseconds
	Names   []uint32        `json:"n"` // index in pageData.Names
	Details []uint32        `json:"e"` // index in pageData.Details
	Data    []string        `json:"v"` // hexadecimal digits
	Counts  []uint32        `json:"c"` // events that a mark stands for; none if it is one each
	Busy    []time.Duration `json:"b"` // nanoseconds of them; none likewise
}

// encode gives the rows in the order of their threads, and the names and details of what has remained as marks.
func (t *timeline) encode() (tracks []*track, names, details []string) {
	tracks = []*track{}
	for _, r := range t.rows {
		if len(r.marks) > 0 {
			tracks = append(tracks, r.encode())
		}
	}
	slices.SortFunc(tracks, func(a, b *track) int { return cmp.Compare(a.ID, b.ID) })
	keptNames, keptDetails := newStrings(), newStrings()
	for _, k := range tracks {
		keptNames.renumber(k.Names, t.names)
		keptDetails.renumber(k.Details, t.details)
	}
	return tracks, keptNames.list, keptDetails.list
}

// renumber replaces the numbers that from has given by those of s.
func (s *strings32) renumber(numbers []uint32, from strings32) {
	for i, n := range numbers {
		numbers[i] = s.number(from.list[n])
	}
}

func (r *row) encode() *track {
	k := &track{ID: r.id, Name: r.name}
	var before time.Duration
	several := slices.ContainsFunc(r.marks, func(m mark) bool { return m.count > 1 })
	for _, m := range r.marks {
		k.Begins = append(k.Begins, m.begin-before)
		k.Lengths = append(k.Lengths, m.end-m.begin)
		k.Names = append(k.Names, m.name)
		k.Details = append(k.Details, m.detail)
		k.Data = append(k.Data, strings.TrimPrefix(m.data, "0x"))
		if several {
			k.Counts = append(k.Counts, m.count)
			k.Busy = append(k.Busy, m.busy)
		}
		before = m.begin
	}
	return k
}

// A histogramOf counts the durations of exits to one device, or of all of them.
type histogramOf struct {
	Name string   `json:"name"` // empty for all
	Bins []uint32 `json:"bins"` // bin i is of 2^(i/2) to 2^((i+1)/2) ns
}

// histograms are those of all exits and of each device, all first and then those with most exits.
func (t *timeline) histograms() []histogramOf {
	list := []histogramOf{}
	for name, h := range t.bins {
		list = append(list, histogramOf{name, h.halves()})
	}
	slices.SortFunc(list, func(a, b histogramOf) int {
		return cmp.Or(cmp.Compare(total(b.Bins), total(a.Bins)), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func total(bins []uint32) (n uint64) {
	for _, b := range bins {
		n += uint64(b)
	}
	return n
}

// halves has two bins for each power of two, up to the last one that is not empty.
func (h *histogram) halves() []uint32 {
	var bins []uint32
	for i, n := range h {
		if n == 0 {
			continue
		}
		at := half(i)
		for len(bins) <= at {
			bins = append(bins, 0)
		}
		bins[at] += n
	}
	return bins
}

// half is the bin of halves that bin i of a histogram goes to: eight of those, whose numbers begin with 8 to 15 as do theirs, are a power of
// two, and sqrt(2)*8 is 11.3.
func half(i int) int {
	if i < 8 {
		return max(2*bits.Len(uint(i))-2, 0)
	}
	n := 2 * (i/8 + 2)
	if i%8 >= 3 {
		n++
	}
	return n
}
