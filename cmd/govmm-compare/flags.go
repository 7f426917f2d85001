package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"govmm/compare"
)

type flags struct {
	command    []string
	rootfs     string
	runtimes   []string
	runtimeCmd string
	govmm      string
	kernel     string
	others     []string
	memory     string
	runs       int
	instances  []int
	only       []string
	json       string
	html       string
	markdown   string
	timeout    time.Duration
	notes      []string
	dryRun     bool
}

// The most that may be asked for.
const (
	mostRuns      = 10_000
	mostInstances = 256
)

func (f *flags) add(c *cobra.Command) {
	s := c.Flags()
	s.SetInterspersed(false)
	s.StringVar(&f.rootfs, "rootfs", "", "the root file system: a `DIR` or a tar archive, plain or compressed (default one of busybox)")
	s.StringSliceVar(&f.runtimes, "runtime", nil, "OCI runtimes, `NAME` on PATH or the program's path, several with commas (default those found of runc, crun)")
	s.StringVar(&f.runtimeCmd, "runtime-cmd", "", "a runtime with another command line, `TEMPLATE` with {bundle} and {id} in it")
	s.StringVarP(&f.kernel, "kernel", "k", "", "kernel `FILE` of the virtual machines (default $GOVMM_KERNEL, or the one that make kernel has built)")
	s.StringSliceVar(&f.others, "other-kernel", nil, "other kernels' `FILE`s to boot, several with commas (default those in /boot and those that make kernels has fetched)")
	s.StringVarP(&f.memory, "memory", "m", "96M", "memory of a virtual machine, with a suffix of K, M or G")
	s.IntVar(&f.runs, "runs", 30, "how often each start is measured, `N` times")
	s.IntSliceVar(&f.instances, "instances", []int{1, 2, 4, 8}, "numbers of instances whose memory is measured, `N,N...`")
	s.StringSliceVar(&f.only, "only", nil, "only these `CLAIMS`: "+strings.Join(compare.Keys(), ", "))
	s.StringVar(&f.json, "json", "", "write everything that was measured to `FILE`, - for standard output in place of the table")
	s.StringVar(&f.html, "html", "", "write a page with plots to `FILE`")
	s.StringVar(&f.markdown, "markdown", "", "write comparison.md and its pictures to `DIR`")
	s.DurationVar(&f.timeout, "timeout", 2*time.Minute, "give up a command after this `TIME`, and go on with the next")
	s.StringArrayVar(&f.notes, "note", nil, "`TEXT` that the report has about what distorts its figures; repeat for more")
	s.BoolVar(&f.dryRun, "dry-run", false, "say what would run")
	s.StringVar(&f.govmm, "govmm", "", "the govmm to measure, a `FILE` (default the one beside this program)")
	_ = c.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(compare.Keys(), cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that is not there
}

// check refuses what makes no sense.
func (f *flags) check() error {
	if f.runs < 1 || f.runs > mostRuns {
		return fmt.Errorf("--runs %d: give a number from 1 to %d", f.runs, mostRuns)
	}
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %v: give a time above zero", f.timeout)
	}
	slices.Sort(f.instances)
	f.instances = slices.Compact(f.instances)
	if len(f.instances) == 0 || f.instances[0] < 1 || slices.Max(f.instances) > mostInstances {
		return fmt.Errorf("--instances: give numbers from 1 to %d", mostInstances)
	}
	for _, key := range f.only {
		if !slices.Contains(compare.Keys(), key) {
			return fmt.Errorf("--only %s: there is no such claim; there are %s", key, strings.Join(compare.Keys(), ", "))
		}
	}
	return nil
}
