// Package report is what a comparison has found, and how it is shown: as a table on a terminal, as JSON, as a page of HTML that needs nothing
// beside it, and as the page docs/comparison.md with its pictures.
package report

import (
	"math"
	"slices"
	"time"
)

// Version is that of the JSON format. It changes when a field changes its meaning or goes.
const Version = 1

// A Report is one run of the comparison.
type Report struct {
	Version  int       `json:"version"`
	Start    time.Time `json:"start"`
	Seconds  float64   `json:"seconds"` // that it took
	Command  []string  `json:"command"` // that was compared
	Host     Host      `json:"host"`
	Subjects []Subject `json:"subjects"` // columns, in their order
	Claims   []Claim   `json:"claims"`
	Missing  []string  `json:"missing,omitempty"` // pieces that this machine lacks, each with its remedy
	Notes    []string  `json:"notes,omitempty"`   // what distorts figures here
}

// A Host is the machine of the run.
type Host struct {
	Kernel string `json:"kernel"` // uname -r
	CPU    string `json:"cpu"`    // its model
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory"` // bytes
}

// A Kind is what a subject is.
type Kind string

// Kinds of subjects.
const (
	KindHost      Kind = "host"
	KindVM        Kind = "vm"
	KindContainer Kind = "container"
)

// A Subject is a place where commands run.
type Subject struct {
	ID      string `json:"id"`    // host, vm, runc
	Title   string `json:"title"` // "virtual machine"
	Kind    Kind   `json:"kind"`
	Version string `json:"version,omitempty"` // "runc 1.1.5"
}

// A Verdict says what became of a claim.
type Verdict string

// Verdicts.
const (
	Holds       Verdict = "holds"
	Partly      Verdict = "partly"        // some of it holds, or in some containers
	Fails       Verdict = "does not hold" // what was seen contradicts it
	NotMeasured Verdict = "not measured"  // with the reason as Finding
)

// A Claim is what is said, and what was seen of it.
type Claim struct {
	Number  int     `json:"number"` // of shared claims, 1 to 11
	Key     string  `json:"key"`    // "startup", as --only takes it
	Title   string  `json:"title"`  // the claim in one sentence
	Verdict Verdict `json:"verdict"`
	Finding string  `json:"finding"` // what was seen, in one sentence
	How     string  `json:"how"`     // how it was measured
	Limits  string  `json:"limits"`  // what that cannot show
	Rows    []Row   `json:"rows"`
	Checks  []Check `json:"checks,omitempty"`
}

// A Unit is what figures of a row are in.
type Unit string

// Units.
const (
	Text       Unit = "" // no figures
	Seconds    Unit = "s"
	Bytes      Unit = "bytes"
	Count      Unit = "count"
	PerSecond  Unit = "1/s"
	BytesPerS  Unit = "bytes/s"
	RatioUnit  Unit = "ratio" // to the host's, more is slower
	PercentCPU Unit = "percent"
)

// A Row is one thing looked at in several places.
type Row struct {
	ID    string `json:"id"` // "startup/warm"; that of memory of N instances is "memory/N"
	Title string `json:"title"`
	Unit  Unit   `json:"unit,omitempty"`
	Cells []Cell `json:"cells"` // one at most for each subject
}

// A Cell is what was seen in one place: a text, a figure, or why there is neither.
type Cell struct {
	Subject string  `json:"subject"`
	Text    string  `json:"text,omitempty"`
	Figure  *Figure `json:"figure,omitempty"`
	Missing string  `json:"missing,omitempty"`
}

// A Figure is a quantity with all that it was computed from, in the unit of its row.
type Figure struct {
	Median  float64   `json:"median"`
	P99     float64   `json:"p99"`
	Samples []float64 `json:"samples"` // in the order of measuring
}

// A Check is one thing that would be otherwise if the claim did not hold.
type Check struct {
	Text  string `json:"text"` // "the virtual machine's boot id is not the host's"
	Holds bool   `json:"holds"`
}

// NewFigure makes a figure of samples, of which there must be one at least. P99 is the smallest sample that no more than one in a hundred
// exceeds, so the largest of fewer than a hundred.
func NewFigure(samples []float64) *Figure {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	median := sorted[n/2]
	if n%2 == 0 {
		median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return &Figure{Median: median, P99: sorted[int(math.Ceil(0.99*float64(n)))-1], Samples: slices.Clone(samples)}
}

// Cell gives the row's cell of a subject.
func (r *Row) Cell(subject string) (Cell, bool) {
	for _, c := range r.Cells {
		if c.Subject == subject {
			return c, true
		}
	}
	return Cell{}, false
}

// Claim gives the claim of a key, or nil.
func (r *Report) Claim(key string) *Claim {
	for i := range r.Claims {
		if r.Claims[i].Key == key {
			return &r.Claims[i]
		}
	}
	return nil
}
