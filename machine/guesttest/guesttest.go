// Package guesttest provides the guests of tests that boot stock Linux: the kernels and the userland that
// the environment names, and an initial RAM disk whose init ends the run at once.
//
// Such tests run inside the nested test host, where nothing can be fetched or built, so what they need
// lies ready beforehand. make test-linux sees to that; a test that lacks something fails and says so.
package guesttest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"govmm/bootimage/initramfs"
)

// What the tests need is named by these variables.
const (
	EnvKernels   = "GOVMM_TEST_KERNELS"   // directory that has the stock kernels, as nested kernel keeps them
	EnvInitramfs = "GOVMM_TEST_INITRAMFS" // the u-root initramfs with the modules of these kernels
	EnvPattern   = "GOVMM_TEST_PATTERN"   // the program of package pattern
)

// Kernels are the names of the stock kernels: Debian's for clouds, and its full one. Each is compressed in
// another way: LZ4, zstd and xz.
var Kernels = []string{"6.1-cloud", "6.12-cloud", "6.1-full"}

const howTo = "run this test with: make test-linux"

// Kernel is the path of a stock kernel's bzImage.
func Kernel(t testing.TB, name string) string {
	t.Helper()
	return kernelFile(t, name, "vmlinuz-*")
}

// Vmlinux is the path of the ELF file that is inside a stock kernel's bzImage.
func Vmlinux(t testing.TB, name string) string {
	t.Helper()
	return kernelFile(t, name, "vmlinux-*")
}

func kernelFile(t testing.TB, name, pattern string) string {
	t.Helper()
	pattern = filepath.Join(named(t, EnvKernels), name, "boot", pattern)
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s matches %d files, not one; %s", pattern, len(found), howTo)
	}
	return found[0]
}

// Initramfs is the path of the u-root initramfs.
func Initramfs(t testing.TB) string {
	t.Helper()
	return named(t, EnvInitramfs)
}

// PatternInitrd writes an initrd, into a directory of the test's, whose init is the program of package pattern.
func PatternInitrd(t testing.TB) string {
	t.Helper()
	program, err := os.ReadFile(named(t, EnvPattern))
	if err != nil {
		t.Fatal(err)
	}
	return ProgramInitrd(t, program)
}

// ProgramInitrd writes an initrd, into a directory of the test's, whose init is a program, and that has nothing else but what it needs to be one.
func ProgramInitrd(t testing.TB, program []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "initrd")
	if err := writeInitrd(path, program, func(*initramfs.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeInitrd writes an initrd with a console, an empty /proc, an init and more.
func writeInitrd(path string, program []byte, more func(*initramfs.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := initramfs.NewWriter(f)
	return errors.Join(
		w.Mkdir("dev", 0o755), w.Mkdir("proc", 0o755),
		w.Mknod("dev/console", os.ModeDevice|os.ModeCharDevice|0o600, 5, 1),
		w.WriteFile("init", 0o755, program),
		more(w),
		w.Close(), f.Close(),
	)
}

// named is the existing file or directory that a variable of the environment names.
func named(t testing.TB, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set; %s", variable, howTo)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v; %s", variable, err, howTo)
	}
	return path
}
