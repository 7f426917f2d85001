package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"govmm/machine"
)

// timing is what --timing and --timing-json ask for.
type timing struct {
	table bool
	json  string
	file  *os.File // to be json
}

// open opens the file, which cannot be done any more when the guest has run.
func (t *timing) open() (err error) {
	if t.json == "" {
		return nil
	}
	if t.file, err = os.Create(t.json); err != nil {
		return fmt.Errorf("--timing-json: %w", err)
	}
	return nil
}

func (t *timing) close() {
	if t.file != nil {
		t.file.Close()
	}
}

// start gives the timeline to record, nil if nobody wants it: there are those that are not asked for by these flags.
func (t *timing) start(wanted bool) *machine.Timeline {
	if !wanted && !t.table && t.json == "" {
		return nil
	}
	line := new(machine.Timeline)
	line.MarkAt(machine.StageProcess, processStart())
	return line
}

// processStart is when this process began. The kernel tells that to a hundredth of a second only, so it
// is reckoned from the processor time taken until now, all of which before main has been one thread's.
func processStart() time.Time {
	var cpu unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &cpu); err != nil {
		return time.Now()
	}
	return time.Now().Add(-time.Duration(cpu.Nano()))
}

// reached is a stage in the order of time, in microseconds.
type reached struct {
	Stage string `json:"stage"`
	At    int64  `json:"at_us"`   // since the process began
	Took  int64  `json:"took_us"` // since the stage before
}

func (t *timing) stages(line *machine.Timeline) []reached {
	var (
		list   []reached
		before int64
		start  = line.At(machine.StageProcess)
	)
	for _, s := range machine.Stages() {
		at := line.At(s)
		if at.IsZero() {
			continue
		}
		list = append(list, reached{Stage: s.String(), At: at.Sub(start).Microseconds()})
	}
	slices.SortStableFunc(list, func(a, b reached) int { return cmp.Compare(a.At, b.At) })
	for i := range list {
		list[i].Took, before = list[i].At-before, list[i].At
	}
	return list
}

// report writes what was recorded.
func (t *timing) report(line *machine.Timeline) error {
	if line == nil {
		return nil
	}
	list := t.stages(line)
	if t.table {
		writeTimingTable(stderr, list)
	}
	if t.file == nil {
		return nil
	}
	b, err := json.MarshalIndent(struct {
		Stages []reached `json:"stages"`
	}{list}, "", "  ")
	if err != nil {
		return err
	}
	if _, err := t.file.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("--timing-json: %w", err)
	}
	return nil
}

func writeTimingTable(w io.Writer, list []reached) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "stage\tat ms\ttook ms\t")
	for _, r := range list {
		fmt.Fprintf(tw, "%s\t%.3f\t%.3f\t\n", r.Stage, float64(r.At)/1000, float64(r.Took)/1000)
	}
	tw.Flush()
}
