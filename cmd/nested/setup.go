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
// program is not there.
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

// printKernel prints a path of a kernel, fetching it if needed.
func printKernel(what string, args []string) error {
	f := flag.NewFlagSet("nested "+what, flag.ContinueOnError)
	update := f.Bool("update", false, "fetch the newest version that Debian has")
	vmlinux := false
	if what == "kernel" {
		f.BoolVar(&vmlinux, "vmlinux", false, "print the path of the unpacked kernel, an ELF file")
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("%s: give one of %s", what, strings.Join(debian.Names(), ", "))
	}
	cache, err := debian.NewCache(debian.Config{Log: newLogger(slog.LevelInfo)})
	if err != nil {
		return err
	}
	kernel, err := cache.Kernel(context.Background(), f.Arg(0), *update)
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
