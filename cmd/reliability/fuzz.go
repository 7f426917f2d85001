package main

import (
	"regexp"
	"strings"
)

// A fuzzLog is what go test -v -fuzz has printed so far of one target.
type fuzzLog struct{ target, time, executions string }

// Lines of go test.
var (
	fuzzRun      = regexp.MustCompile(`^=== RUN +(Fuzz\w+)$`)
	fuzzProgress = regexp.MustCompile(`^fuzz: elapsed: (\w+), execs: (\d+) `)
	packageEnd   = regexp.MustCompile(`^ok +\t?(\S+)\t`)
)

// read takes a line. When the package has ended well, the target's figures are added to all. Its name alone would not do:
// several packages have a FuzzRegisters.
func (f *fuzzLog) read(line string, all figures) {
	if m := fuzzRun.FindStringSubmatch(line); m != nil {
		*f = fuzzLog{target: m[1]}
	} else if m := fuzzProgress.FindStringSubmatch(line); m != nil {
		f.time, f.executions = m[1], m[2]
	} else if m := packageEnd.FindStringSubmatch(line); m != nil && f.executions != "" {
		key := "fuzz target " + strings.TrimPrefix(m[1], "govmm/") + "." + f.target
		all[key+": time"] = figure{Value: f.time, Test: f.target}
		all[key+": executions"] = figure{Value: f.executions, Test: f.target}
		*f = fuzzLog{}
	}
}
