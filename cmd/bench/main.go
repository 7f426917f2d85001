// Command bench measures what govmm costs beside QEMU and beside C, and writes a page about it:
//
//	bench [-out DIR] [-runs N] [-only boot,start,exits,memory,disk,tap,user,idle,free] -kernels DIR -govmm FILE -kvmtest FILE -exits FILE -initrd FILE
//	bench -match REGEXP ...
//	bench -render benchmarks.json [-keep older.json]
//
// make bench runs it where there is a real KVM, in virtual time if that is the nested test host (docs/testing.md).
// DIR gets benchmarks.json with every sample, and benchmarks.md, which is made from it. What is not measured
// is kept from the report that DIR has, if that was made on the same host. The second form only prints what it measures, the third
// makes the page again from the samples.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Names of what is written.
const (
	reportName = "benchmarks.json"
	pageName   = "benchmarks.md"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	out, render string
	keep        string
	runs        int
	only        []string
	match       *regexp.Regexp // of the figures' IDs; nil for all

	kernels, govmm, kvmtest, exits, qemu, initrd string
}

// parts are what can be measured, in the page's order.
var parts = []string{"boot", "start", "exits", "memory", "disk", "tap", "user", "idle", "free"}

// parseOptions reads the command line. What is said of it goes to help.
func parseOptions(args []string, help io.Writer) (*options, error) {
	o := &options{only: parts}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(help)
	f.StringVar(&o.out, "out", ".", "write "+reportName+" and "+pageName+" into `DIR`")
	f.StringVar(&o.render, "render", "", "measure nothing; write the page beside `FILE`, a "+reportName)
	f.StringVar(&o.keep, "keep", "", "take what is not measured from `FILE`, a "+reportName+" (default that of -out)")
	f.IntVar(&o.runs, "runs", 5, "runs that count; one more is made before and dropped")
	f.Func("only", "measure only these `PARTS`: "+strings.Join(parts, ","), func(s string) error {
		o.only = strings.Split(s, ",")
		for _, p := range o.only {
			if !slices.Contains(parts, p) {
				return fmt.Errorf("there is no part %q", p)
			}
		}
		return nil
	})
	f.Func("match", "look only at figures whose IDs match `REGEXP`, such as tap/tiny-2, and write nothing", func(s string) (err error) {
		o.match, err = regexp.Compile(s)
		return err
	})
	f.StringVar(&o.kernels, "kernels", "", "`DIR` with the kernels, as nested kernel keeps them")
	f.StringVar(&o.govmm, "govmm", "bin/govmm", "the monitor")
	f.StringVar(&o.kvmtest, "kvmtest", "bin/kvmtest/kvm", "kvm's compiled test binary")
	f.StringVar(&o.exits, "exits", "bin/exits", "kvm/testdata/exits.c, compiled")
	f.StringVar(&o.initrd, "initrd", "bin/bench.cpio", "the guests' userland for devices, with guest/ in /bench")
	f.StringVar(&o.qemu, "qemu", "qemu-system-x86_64", "the monitor to compare with")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.runs < 1:
		return nil, fmt.Errorf("-runs %d: give 1 or more", o.runs)
	case o.render == "" && o.kernels == "":
		return nil, errors.New("-kernels is missing; run this program with: make bench")
	}
	return o, nil
}

func run(args []string) error {
	o, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.render != "" {
		return render(o.render, o.keep)
	}
	if o.keep == "" {
		o.keep = filepath.Join(o.out, reportName)
	}
	old, err := readReport(o.keep)
	if err != nil {
		old = new(report) // there may be none
	}
	r, err := measure(o, os.Stderr, func(r *report) error {
		if o.match != nil { // a part without some of its figures would take the place of the whole one
			return nil
		}
		return r.publish(o.out, old)
	})
	if err != nil {
		return err
	}
	if n := r.failures(); n > 0 {
		return fmt.Errorf("%d runs failed; %s has their errors", n, reportName)
	}
	return nil
}

// render makes the page of a report that is there, after it was given what it lacks.
func render(path, keep string) error {
	r, err := readReport(path)
	if err != nil {
		return err
	}
	if keep != "" {
		old, err := readReport(keep)
		if err != nil {
			return err
		}
		r.keep(old)
		if err := r.write(path); err != nil {
			return err
		}
	}
	return writePage(filepath.Join(filepath.Dir(path), pageName), r)
}

// measure makes all runs, and has the report saved after each part: all of them take hours.
func measure(o *options, progress io.Writer, save func(*report) error) (*report, error) {
	files, err := newStage()
	if err != nil {
		return nil, err
	}
	defer files.remove()
	b, err := newBench(o, files, progress)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		if !slices.Contains(o.only, part) {
			continue
		}
		switch part {
		case "boot":
			err = b.boots()
		case "start":
			err = b.starts()
		case "exits":
			err = b.exits()
		case "memory":
			err = b.memory()
		default:
			err = b.devices(part)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
		b.report.Parts = append(b.report.Parts, part)
		if err := save(b.report); err != nil {
			return nil, err
		}
	}
	return b.report, nil
}
