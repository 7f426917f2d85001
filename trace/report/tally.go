package report

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// A Row is what was counted under one name. Durations are in nanoseconds in JSON.
type Row struct {
	Name   string        `json:"name"`
	Count  uint64        `json:"count"`
	Bytes  uint64        `json:"bytes,omitempty"`
	Total  time.Duration `json:"total_ns"`
	Mean   time.Duration `json:"mean_ns"`
	Median time.Duration `json:"median_ns"` // to an eighth
	P99    time.Duration `json:"p99_ns"`    // to an eighth: of 100, 99 took no longer
	Max    time.Duration `json:"max_ns"`
}

// A tally adds up what has one name.
type tally struct {
	row  Row
	bins histogram
}

func (t *tally) add(took time.Duration, size uint64) {
	t.row.Count++
	t.row.Bytes += size
	t.row.Total += took
	t.row.Max = max(t.row.Max, took)
	t.bins[bin(took)]++
}

func (t *tally) result() Row {
	r := t.row
	if r.Count == 0 {
		return r
	}
	r.Mean = r.Total / time.Duration(r.Count)
	r.Median = min(t.bins.below(r.Count, 50), r.Max)
	r.P99 = min(t.bins.below(r.Count, 99), r.Max)
	return r
}

// A histogram counts durations by their power of two and the three bits behind the first one. 1<<47 ns are 39 hours.
type histogram [47 * 8]uint32

// bin is where a duration is counted.
func bin(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 8 {
		return int(n)
	}
	exp := bits.Len64(n) - 4 // n>>exp is 8 to 15
	return min(exp*8+int(n>>exp), len(histogram{})-1)
}

// top is the longest duration of bin i.
func top(i int) time.Duration {
	if i < 16 {
		return time.Duration(i)
	}
	exp := i/8 - 1
	return time.Duration(8+i%8+1)<<exp - 1
}

// below is a duration that so many per cent of count do not exceed.
func (h *histogram) below(count, percent uint64) time.Duration {
	var seen uint64
	for i, n := range h {
		if seen += uint64(n); seen*100 >= count*percent {
			return top(i)
		}
	}
	return top(len(h) - 1)
}

// maxNames is how many names of one kind are told apart: a guest can access any address, but a table of them all helps nobody.
const maxNames = 4096

// otherNames is the name of all further ones.
const otherNames = "others"

// A table has a tally for each name.
type table map[string]*tally

func (t table) get(name string) *tally {
	if found := t[name]; found != nil {
		return found
	}
	if len(t) >= maxNames {
		name = otherNames
		if found := t[name]; found != nil {
			return found
		}
	}
	made := &tally{row: Row{Name: name}}
	t[name] = made
	return made
}

// rows are the results, what took most time first.
func (t table) rows() []Row {
	list := []Row{}
	for _, one := range t {
		list = append(list, one.result())
	}
	slices.SortFunc(list, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	return list
}
