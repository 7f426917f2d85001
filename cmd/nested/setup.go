package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"govmm/cmd/nested/debian"
)

// setup installs what the test host needs, and what the arguments name besides, and fetches
// the test host's kernel. An argument is PACKAGE=PROGRAM: the package is installed if the
// program is not there, or the file, if it is a path.
func setup(args []string) error {
	f := flag.NewFlagSet("nested setup", flag.ContinueOnError)
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	missing := debian.Missing()
	for _, arg := range f.Args() {
		pkg, program, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("setup: %q is not PACKAGE=PROGRAM", arg)
		}
		if !debian.HasProgram(program) {
			missing = append(missing, pkg)
		}
	}
	err := debian.Install(ctx, missing, os.Stderr)
	if errors.Is(err, debian.ErrNoApt) {
		return fmt.Errorf("%w, which setup uses: the test host needs what Debian 12 calls %s, and Debian's kernels", err, strings.Join(missing, ", "))
	}
	if err != nil {
		return err
	}
	if missing := debian.Missing(); len(missing) > 0 {
		return fmt.Errorf("still missing: %s", strings.Join(missing, " "))
	}
	cache, err := debian.NewCache(debian.Config{Log: newLogger(slog.LevelInfo)})
	if err != nil {
		return err
	}
	if err := cache.FetchQEMU(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "nested: going on with the system's QEMU, on which guests hang now and then:", err)
	}
	kernel, err := cache.Kernel(ctx, debian.Full61, false)
	if err != nil {
		return err
	}
	image, err := kernel.Vmlinux()
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "nested: ready; the test host's kernel is %s\n", image)
	return nil
}

// tiny is the name of the kernel that is not fetched but built, and has no modules.
const tiny = "tiny"

// printKernel prints a path of a kernel, fetching or building it if needed.
func printKernel(what string, args []string) error {
	f := flag.NewFlagSet("nested "+what, flag.ContinueOnError)
	update := f.Bool("update", false, "fetch the newest version that Debian has")
	vmlinux := false
	var fragments []string
	if what == "kernel" {
		f.BoolVar(&vmlinux, "vmlinux", false, "print the path of the unpacked kernel, an ELF file")
		f.Func("fragments", "configure "+tiny+" with `FRAGMENTS` besides: debug, or files whose names end in .config", func(s string) error {
			fragments = append(fragments, strings.Fields(s)...)
			return nil
		})
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	name := f.Arg(0)
	switch {
	case f.NArg() != 1:
		return fmt.Errorf("%s: give one of %s, %s", what, strings.Join(debian.Names(), ", "), tiny)
	case name == tiny && what == "modules":
		return nil
	case name != tiny && len(fragments) > 0:
		return fmt.Errorf("kernel %s is Debian's; only %s is configured", name, tiny)
	}
	cache, err := debian.NewCache(debian.Config{Log: newLogger(slog.LevelInfo)})
	if err != nil {
		return err
	}
	var kernel debian.Kernel
	if name == tiny {
		kernel, err = cache.Tiny(context.Background(), *update, fragments...)
	} else {
		kernel, err = cache.Kernel(context.Background(), name, *update)
	}
	if err != nil {
		return err
	}
	path := kernel.Image
	switch {
	case what == "modules":
		path = kernel.Modules
	case vmlinux:
		if path, err = kernel.Vmlinux(); err != nil {
			return err
		}
	}
	_, err = fmt.Println(path)
	return err
}
