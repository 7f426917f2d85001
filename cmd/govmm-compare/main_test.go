package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmm/compare"
	"govmm/compare/probe"
)

// envMain has the test binary be the program.
const envMain = "GOVMM_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" || probe.IsProbe() {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestRefused holds that wrong usage is one line that says what is right.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--runs", "0"}, "--runs 0: give a number"},
		{[]string{"--instances", "0,1"}, "--instances: give numbers"},
		{[]string{"--instances", "1000"}, "--instances: give numbers"},
		{[]string{"--only", "speeed"}, "there is no such claim"},
		{[]string{"--no-such-flag"}, "see govmm compare --help"},
		{[]string{"--rootfs", dir, "--govmm", "/bin/true", "--runtime", "no-such-runtime"}, "--runtime: runtime no-such-runtime"},
		{[]string{"--rootfs", dir, "--govmm", "/bin/true", "--runtime-cmd", "true {id}"}, "needs a program, {bundle} and {id}"},
		{[]string{"--rootfs", dir, "--govmm", "/bin/true", "--other-kernel", "/no/such"}, "--other-kernel"},
		{[]string{"--rootfs", "/no/such", "--govmm", "/bin/true", "--only", "size"}, "--rootfs: /no/such"},
	} {
		c := newCommand()
		c.SetArgs(tt.args)
		err := c.Execute()
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
}

// TestDescribe holds that --dry-run tells of each claim.
func TestDescribe(t *testing.T) {
	var b bytes.Buffer
	if err := describe(&b, compare.Options{Command: []string{"echo", "hello"}, Missing: []string{"no runtime"}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range append(compare.Keys(), "echo hello", "no runtime") {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in %s", want, b.String())
		}
	}
}

// TestOtherKernels leaves out the kernel that virtual machines have anyway, and those that cannot be read.
func TestOtherKernels(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	for _, name := range []string{"tiny/boot/vmlinuz-1", "6.1/boot/vmlinuz-6.1", "6.12/boot/vmlinuz-6.12"} {
		path := filepath.Join(cache, "govmm/kernels", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	usual := defaultKernel()
	others, err := new(flags).otherKernels(usual)
	if err != nil || filepath.Base(usual) != "vmlinuz-1" {
		t.Fatal(usual, err)
	}
	if len(others) < 2 || filepath.Base(others[0]) != "vmlinuz-6.1" || filepath.Base(others[1]) != "vmlinuz-6.12" {
		t.Errorf("%q", others)
	}
}
