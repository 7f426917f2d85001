package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A report is all that a run measured, raw, and where.
type report struct {
	Govmm   string    `json:"govmm"` // its version
	Host    host      `json:"host"`
	Runs    int       `json:"runs"` // that count, the dropped one apart
	Parts   []string  `json:"parts"`
	Dir     string    `json:"dir"` // of what was measured
	Figures []*figure `json:"figures"`
	Kept    []kept    `json:"kept,omitempty"` // what was not measured in this run
}

// A kept is parts of an earlier run.
type kept struct {
	Govmm string   `json:"govmm"`
	Runs  int      `json:"runs"`
	Parts []string `json:"parts"`
}

// keep takes the parts of an earlier report that were not measured in this one. What another host or another QEMU has done is no match
// for it.
func (r *report) keep(old *report) {
	a, b := r.Host, old.Host
	if a.CPU != b.CPU || a.CPUs != b.CPUs || a.Nested != b.Nested || a.VirtualTime != b.VirtualTime || a.QEMU != b.QEMU {
		return
	}
	for _, k := range append([]kept{{old.Govmm, old.Runs, old.Parts}}, old.Kept...) {
		k.Parts = slices.DeleteFunc(slices.Clone(k.Parts), r.has)
		if len(k.Parts) == 0 {
			continue
		}
		for _, f := range old.Figures {
			if slices.Contains(k.Parts, partOf(f.ID)) {
				r.Figures = append(r.Figures, f)
			}
		}
		r.Kept = append(r.Kept, k)
	}
}

// publish writes the report and its page into dir, with what it lacks of an earlier one.
func (r *report) publish(dir string, old *report) error {
	whole := *r
	whole.Figures, whole.Kept = slices.Clone(r.Figures), slices.Clone(r.Kept)
	whole.keep(old)
	if err := whole.write(filepath.Join(dir, reportName)); err != nil {
		return err
	}
	return writePage(filepath.Join(dir, pageName), &whole)
}

// partOf gives the part that a figure belongs to.
func partOf(id string) string {
	part, rest, _ := strings.Cut(id, "/")
	if part != "devices" {
		return part
	}
	part, _, _ = strings.Cut(rest, "/")
	return part
}

// has says whether the report has a part, measured or kept.
func (r *report) has(part string) bool {
	return slices.Contains(r.Parts, part) || slices.ContainsFunc(r.Kept, func(k kept) bool { return slices.Contains(k.Parts, part) })
}

// Kinds of figures.
const (
	kindVirtual = "virtual time" // nanoseconds, 2 of which are one instruction
	kindTime    = "time"         // nanoseconds
	kindMemory  = "memory"       // bytes

	// Seconds of these are of the host's clock, virtual ones if it is.
	kindRate       = "rate"       // a second
	kindThroughput = "throughput" // bytes a second

	kindCount = "count"
	kindShare = "share" // of 1
)

// A figure is one thing measured several times.
type figure struct {
	ID      string   `json:"id"`    // part/subject/variant
	Title   string   `json:"title"` // for the page
	Kind    string   `json:"kind"`
	Command []string `json:"command,omitempty"`
	Env     []string `json:"env,omitempty"` // beside the command's own
	Note    string   `json:"note,omitempty"`

	Dropped []float64 `json:"dropped,omitempty"` // the first run
	Samples []float64 `json:"samples,omitempty"`
	Errors  []string  `json:"errors,omitempty"`       // of runs that failed
	Missing string    `json:"not_measured,omitempty"` // why there are no samples

	Holders  []holder  `json:"holders,omitempty"`  // of memory, in the last run
	Mappings []mapping `json:"mappings,omitempty"` // the largest of them
}

// add takes the result of a run; the first one is dropped.
func (f *figure) add(round int, value float64, err error) {
	switch {
	case err != nil:
		f.Errors = append(f.Errors, err.Error())
	case round == 0:
		f.Dropped = append(f.Dropped, value)
	default:
		f.Samples = append(f.Samples, value)
	}
}

// close says why there is nothing, if so.
func (f *figure) close() {
	if len(f.Samples) == 0 && f.Missing == "" && len(f.Errors) > 0 {
		f.Missing = f.Errors[0]
	}
}

// figure finds one by its ID; nil if there is none.
func (r *report) figure(id string) *figure {
	for _, f := range r.Figures {
		if f.ID == id {
			return f
		}
	}
	return nil
}

func (r *report) failures() int {
	n := 0
	for _, f := range r.Figures {
		n += len(f.Errors)
	}
	return n
}

func readReport(path string) (*report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
