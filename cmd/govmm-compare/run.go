package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"govmm/compare"
	"govmm/compare/basefs"
	"govmm/compare/child"
	"govmm/compare/oci"
	"govmm/compare/report"
)

func (f *flags) run() error {
	if err := f.check(); err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	o, err := f.options(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if f.dryRun {
		return describe(os.Stdout, o)
	}
	progress := newProgress(os.Stderr)
	o.Progress = progress.tell
	r, err := compare.Run(ctx, o)
	progress.done()
	if r == nil {
		return err
	}
	r.Notes = append(r.Notes, f.notes...)
	return errors.Join(f.write(r), err) // what could not be removed takes nothing from what was measured
}

// options finds what flags leave out. What cannot be found is told in the report, unless nothing could be measured without it.
func (f *flags) options(ctx context.Context) (o compare.Options, err error) {
	o = compare.Options{Rootfs: f.rootfs, Command: f.command, Kernel: f.kernel, Memory: f.memory, Runs: f.runs, Instances: f.instances, Only: f.only, Timeout: f.timeout}
	if len(o.Command) == 0 {
		o.Command = []string{"echo", "hello"}
	}
	if o.Rootfs == "" {
		if o.Rootfs, err = defaultRootfs(ctx); err != nil {
			return o, err
		}
	}
	if o.Probe, err = probeProgram(); err != nil {
		return o, err
	}
	if o.Govmm, err = f.findGovmm(); err != nil {
		return o, err
	}
	o.Version = versionOf(ctx, o.Govmm)
	if o.Kernel == "" {
		o.Kernel = defaultKernel()
	}
	if o.Others, err = f.otherKernels(o.Kernel); err != nil {
		return o, err
	}
	o.Runtimes, err = f.findRuntimes()
	if len(o.Runtimes) == 0 && err == nil {
		o.Missing = append(o.Missing, "no OCI runtime on PATH: apt-get install runc crun")
	}
	return o, err
}

func defaultRootfs(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w; give --rootfs DIR|TAR", err)
	}
	return basefs.Make(ctx, filepath.Join(cache, "govmm", "rootfs"))
}

// findGovmm finds the program that is measured.
func (f *flags) findGovmm() (string, error) {
	if f.govmm != "" {
		return filepath.Abs(f.govmm)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), "govmm")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	path, err := exec.LookPath("govmm")
	if err != nil {
		return "", fmt.Errorf("govmm is neither beside %s nor on PATH; give --govmm FILE", self)
	}
	return filepath.Abs(path)
}

const versionLimit = 10 * time.Second

func versionOf(ctx context.Context, program string) string {
	out, err := child.Output(ctx, versionLimit, program, "version")
	if err != nil {
		return "" // what is wrong with it is told when it is to run a virtual machine
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// defaultKernel is that of govmm run; empty if there is none.
func defaultKernel() string {
	if path := os.Getenv("GOVMM_KERNEL"); path != "" {
		return path
	}
	if found := cachedKernels("tiny"); len(found) > 0 {
		return found[len(found)-1]
	}
	return ""
}

// cachedKernels finds kernels that make kernel and make kernels keep.
func cachedKernels(name string) []string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	found, _ := filepath.Glob(filepath.Join(cache, "govmm/kernels", name, "boot/vmlinuz-*")) // the pattern is right
	return found
}

// otherKernels are kernels to boot beside the usual one.
func (f *flags) otherKernels(usual string) ([]string, error) {
	for _, path := range f.others {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("--other-kernel: %w", err)
		}
	}
	if f.others != nil {
		return f.others, nil
	}
	inBoot, _ := filepath.Glob("/boot/vmlinuz-*") // the pattern is right
	var list []string
	names := map[string]bool{filepath.Base(usual): true}
	for _, path := range slices.Concat(cachedKernels("[0-9]*"), inBoot) {
		if name := filepath.Base(path); !names[name] && readable(path) {
			names[name] = true
			list = append(list, path)
		}
	}
	return list, nil
}

func readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func (f *flags) findRuntimes() ([]*oci.Runtime, error) {
	var list []*oci.Runtime
	for _, name := range f.runtimes {
		r, err := oci.Find(name)
		if err != nil {
			return nil, fmt.Errorf("--runtime: %w", err)
		}
		list = append(list, r)
	}
	if f.runtimeCmd != "" {
		r, err := oci.FromTemplate(f.runtimeCmd)
		if err != nil {
			return nil, fmt.Errorf("--runtime-cmd: %w", err)
		}
		list = append(list, r)
	}
	if list == nil {
		return oci.Installed(), nil
	}
	return list, nil
}

// describe says what would run.
func describe(w io.Writer, o compare.Options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "root file system  %s\ncommand           %s\nvirtual machine   %s, kernel %s, memory %s\n", o.Rootfs, strings.Join(o.Command, " "), o.Govmm, orNone(o.Kernel), o.Memory)
	for _, r := range o.Runtimes {
		fmt.Fprintf(&b, "container         %s\n", r.Name())
	}
	for _, k := range o.Others {
		fmt.Fprintf(&b, "other kernel      %s\n", k)
	}
	for _, m := range o.Missing {
		fmt.Fprintf(&b, "missing           %s\n", m)
	}
	fmt.Fprintf(&b, "\n%d runs of each start; memory of %v instances\n", o.Runs, o.Instances)
	for i, key := range compare.Keys() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, key) {
			continue
		}
		title, how := compare.Describe(key)
		fmt.Fprintf(&b, "\n%2d %s: %s.\n   %s\n", i+1, key, title, how)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// write shows a report in all the ways that were asked for.
func (f *flags) write(r *report.Report) error {
	var err error
	if f.json != "-" {
		err = r.WriteTable(os.Stdout, tableOptions())
	}
	if f.json != "" {
		err = errors.Join(err, writeTo(f.json, r.WriteJSON))
	}
	if f.html != "" {
		err = errors.Join(err, writeTo(f.html, r.WriteHTML))
	}
	if f.markdown != "" {
		err = errors.Join(err, writeMarkdown(f.markdown, r))
	}
	return err
}

// tableOptions fits the table to the terminal.
func tableOptions() report.TableOptions {
	o := report.TableOptions{Width: 120}
	out := int(os.Stdout.Fd())
	if !term.IsTerminal(out) {
		return o
	}
	o.Color = os.Getenv("NO_COLOR") == ""
	if width, _, err := term.GetSize(out); err == nil {
		o.Width = width
	}
	return o
}

func writeTo(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(os.Stdout)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// writeMarkdown writes comparison.md, comparison.json and the pictures, which lie in a directory of their own.
func writeMarkdown(dir string, r *report.Report) error {
	const pictures = "comparison"
	plots, err := r.Plots()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, pictures), 0o755); err != nil {
		return err
	}
	for _, p := range plots {
		if err := os.WriteFile(filepath.Join(dir, pictures, p.Name+".svg"), p.SVG, 0o644); err != nil {
			return err
		}
	}
	return errors.Join(
		writeTo(filepath.Join(dir, "comparison.md"), func(w io.Writer) error { return r.WriteMarkdown(w, pictures) }),
		writeTo(filepath.Join(dir, "comparison.json"), r.WriteJSON))
}
