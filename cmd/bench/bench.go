package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"govmm/machine/guesttest"
)

// bench is a run under way.
type bench struct {
	o        *options
	files    *stage
	progress io.Writer
	report   *report

	govmm, qemu, initrd string
	kernels             []*kernel
}

// A kernel is what guests boot, in memory.
type kernel struct {
	name             string // as nested kernel has it
	label            string // on the page
	bzImage, vmlinux string
	missing          string // why it is not there
}

// Names of the kernels that are booted, in the page's order.
const (
	stock612 = "6.12-cloud"
	stock61  = "6.1-cloud"
	tiny     = "tiny"
)

func newBench(o *options, files *stage, progress io.Writer) (*bench, error) {
	b := &bench{o: o, files: files, progress: progress}
	var err error
	if b.qemu, err = exec.LookPath(o.qemu); err != nil {
		return nil, err
	}
	if b.govmm, err = files.copy(o.govmm, "govmm"); err != nil {
		return nil, err
	}
	b.initrd = files.path("initrd")
	if err := guesttest.WriteSmallInitrd(b.initrd, guesttest.Sleep); err != nil {
		return nil, err
	}
	b.report = &report{Govmm: firstLine(b.govmm, "version"), Host: describeHost(b.qemu), Runs: o.runs, Dir: files.dir}
	settleQEMU(b.qemu, b.report.Host.Nested)
	for _, k := range []*kernel{
		{name: stock612, label: "Debian's 6.12 for clouds"},
		{name: stock61, label: "Debian's 6.1 for clouds"},
		{name: tiny, label: "the tiny kernel"},
	} {
		if err := b.stageKernel(k); err != nil {
			return nil, err
		}
		b.kernels = append(b.kernels, k)
	}
	return b, nil
}

// stageKernel copies a kernel's two files.
func (b *bench) stageKernel(k *kernel) error {
	dir := filepath.Join(b.o.kernels, k.name, "boot")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		k.missing = fmt.Sprintf("there is no kernel %q; get it with: nested kernel %s", k.name, k.name)
		return nil
	}
	for _, f := range []struct {
		pattern string
		path    *string
	}{{"vmlinuz-*", &k.bzImage}, {"vmlinux-*", &k.vmlinux}} {
		found, err := filepath.Glob(filepath.Join(dir, f.pattern))
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("%s has %d files %s, not one; get them with: nested kernel --vmlinux %s", dir, len(found), f.pattern, k.name)
		}
		// Files are told apart by the kernel's name, its version keeps its place in commands.
		name := k.name + "-" + filepath.Base(found[0])
		if *f.path, err = b.files.copy(found[0], name); err != nil {
			return err
		}
	}
	return nil
}

// kernel finds one by its name.
func (b *bench) kernel(name string) *kernel {
	for _, k := range b.kernels {
		if k.name == name {
			return k
		}
	}
	panic("no kernel " + name)
}

// figure adds one to the report.
func (b *bench) figure(f figure) *figure {
	if b.o.match != nil && !b.o.match.MatchString(f.ID) {
		f.Missing = "not asked for"
	}
	if f.Missing != "" {
		f.Command, f.Env = nil, nil
	}
	if f.Kind == "" {
		f.Kind = b.report.Host.kind()
	}
	b.report.Figures = append(b.report.Figures, &f)
	return b.report.Figures[len(b.report.Figures)-1]
}

// say reports progress.
func (b *bench) say(round int, id string, value string, err error) {
	what := fmt.Sprintf("run %d of %d", round, b.report.Runs)
	if round == 0 {
		what = "run to be dropped"
	}
	if err != nil {
		value, _, _ = strings.Cut("failed: "+err.Error(), "\n")
	}
	fmt.Fprintf(b.progress, "bench: %-28s %-18s %s\n", id, what, value)
}
