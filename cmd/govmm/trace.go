package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"govmm/machine"
	"govmm/trace"
)

// traceFlag is the value of --trace, and the file that it names.
type traceFlag struct {
	path    string // empty if there is to be no trace
	records int    // 0 for the default
	file    *os.File
	kept    *trace.Recorder
}

func addTraceFlag(c *cobra.Command, f *traceFlag) {
	c.Flags().Var(f, "trace", fmt.Sprintf("record exits, doorbells, interrupts and requests, and write the last of them to `FILE[,records=N]` when the run has ended (default %d for each vCPU and for all devices); see govmm trace", trace.DefaultRecords))
}

// Set takes FILE[,records=N], with a comma in FILE written twice.
func (f *traceFlag) Set(text string) error {
	words := splitCommas(text)
	*f = traceFlag{path: words[0]}
	if f.path == "" {
		return errors.New("there is no path; write it as FILE[,records=N]")
	}
	for _, word := range words[1:] {
		value, ok := strings.CutPrefix(word, "records=")
		if !ok {
			return fmt.Errorf("option %q is not known; there is records= (a comma in FILE is written twice)", word)
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > trace.MaxRecords {
			return fmt.Errorf("records=%s is not a number from 1 to %d", value, trace.MaxRecords)
		}
		f.records = n
	}
	return nil
}

func (f *traceFlag) String() string {
	if f.records == 0 {
		return f.path
	}
	return fmt.Sprintf("%s,records=%d", f.path, f.records)
}

func (f *traceFlag) Type() string { return "FILE[,records=N]" }

// open opens the file, which cannot be done any more when the guest runs, and has cfg record. The file is for its owner: what is typed
// at the guest's serial port is in it.
func (f *traceFlag) open(cfg *machine.Config) error {
	if f.path == "" {
		return nil
	}
	start := cfg.Timeline.At(machine.StageProcess)
	if start.IsZero() {
		start = time.Now()
	}
	r, err := trace.NewRecorder(trace.Config{CPUs: max(cfg.CPUs, 1), Records: f.records, Start: start})
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	if f.file, err = os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		warn(r.Close())
		return fmt.Errorf("--trace: %w", err)
	}
	if st, err := f.file.Stat(); err == nil && st.Mode().IsRegular() {
		_ = f.file.Chmod(0o600) // it may have been there, for others to read, and another user's
	}
	cfg.Trace, f.kept = r, r
	return nil
}

// write writes what m has recorded.
func (f *traceFlag) write(m *machine.Machine) error {
	if f.file == nil {
		return nil
	}
	if err := m.WriteTrace(f.file, trace.About{Name: "monitor", Value: "govmm " + version}); err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	return nil
}

// close is for when m is closed.
func (f *traceFlag) close() {
	if f.file != nil {
		warn(f.file.Close())
		warn(f.kept.Close())
	}
}
