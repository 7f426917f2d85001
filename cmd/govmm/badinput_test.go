package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"govmm/devices/virtio/blk"
	"govmm/kvm"
)

// A badInput is a command line that govmm must refuse: with exit status 1, one line that says why, and
// nothing changed.
type badInput struct {
	name    string
	args    []string // beside boot; files are those of inputDir
	want    string   // in the message
	arrange arrangement
}

// inputDir makes a directory with inputs, good and bad.
func inputDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"kernel":   []byte("not looked at in tests without KVM"),
		"initrd":   []byte("likewise"),
		"empty":    {},
		"disk.img": bytes.Repeat([]byte("data"), 16<<10),
		"odd.img":  make([]byte, 1000),
		"ro.img":   make([]byte, 1024),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "dir"), 0o755),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
		os.Chmod(filepath.Join(dir, "ro.img"), 0o444),
		os.Chmod(filepath.Dir(dir), 0o755), // so that others than the owner come here
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBadInput(t *testing.T) {
	run := func(args ...string) []string { return args }
	checkBadInputs(t, inputDir(t), []badInput{
		{"no kernel given", run(), "see govmm boot --help", ""},
		{"one argument too many", run("kernel", "initrd", "more"), "see govmm boot --help", ""},
		{"kernel missing", run("nothing"), "kernel: open nothing: no such file or directory", ""},
		{"kernel empty", run("empty"), "kernel: empty is empty", ""},
		{"kernel is a directory", run("dir"), "kernel: dir is a directory, give the file itself", ""},
		{"kernel is a FIFO", run("fifo"), "kernel: fifo is not a regular file", ""},
		{"initrd missing", run("kernel", "nothing"), "initrd: open nothing: no such file or directory", ""},
		{"initrd empty", run("kernel", "empty"), "initrd: empty is empty", ""},
		{"initrd is a directory", run("kernel", "dir"), "initrd: dir is a directory", ""},

		{"no memory", run("-m", "0", "kernel"), "--memory 0", ""},
		{"little memory", run("-m", "1M", "kernel"), "give at least 16M", ""},
		{"memory of part of a page", run("-m", "104857601", "kernel"), "not a multiple of the page size", ""},
		{"memory beyond a machine", run("-m", "3T", "kernel"), "more than the 1024G", ""},
		{"memory beyond numbers", run("-m", "99999999T", "kernel"), "beyond any memory", ""},
		{"memory is no number", run("-m", "abc", "kernel"), `"abc" is not a size; write it as 512M or 2G`, ""},
		{"memory below zero", run("-m", "-1G", "kernel"), "is not a size", ""},

		{"no CPU", run("-c", "0", "kernel"), "--cpus 0", ""},
		{"less than no CPU", run("-c", "-1", "kernel"), "a machine has 1 to 255", ""},
		{"many CPUs", run("-c", "10000", "kernel"), "a machine has 1 to 255", ""},
		{"CPUs are no number", run("-c", "all", "kernel"), `"all"`, ""},

		{"disk missing", run("-d", "nothing", "kernel"), "disk image nothing: no such file or directory", ""},
		{"disk empty", run("-d", "empty", "kernel"), "truncate -s 1G", ""},
		{"disk is a directory", run("-d", "dir", "kernel"), "disk image dir: is a directory", ""},
		{"disk is a FIFO", run("-d", "fifo", "kernel"), "neither a regular file nor a block device", ""},
		{"disk of an odd size", run("-d", "odd.img", "kernel"), "size 1000 is not a multiple of 512", ""},
		{"disk twice", run("-d", "disk.img", "-d", "disk.img", "kernel"), "disk image disk.img: image is in use", ""},
		{"disk without a path", run("-d", ",ro", "kernel"), "write it as PATH", ""},
		{"disk with an unknown option", run("-d", "disk.img,rw", "kernel"), `option "rw" is not known; there are ro, cache=`, ""},
		{"disk not to be written", run("-d", "ro.img", "kernel"), `open it with ",ro"`, unprivileged()},
		{"many disks", append(slices.Repeat(run("-d", "disk.img,ro"), 32), "kernel"), "are too many, there are PCI slots for 31", ""},

		{"unknown flag", run("--frob", "kernel"), "--frob; see govmm boot --help", ""},
		{"unknown short flag", run("-x", "kernel"), "'x' in -x; see govmm boot --help", ""},
		{"flag without its value", run("kernel", "-m"), "-m; see govmm boot --help", ""},
	})
}

// unprivileged is an arrangement for a process that no file's permissions let through.
func unprivileged() arrangement {
	if os.Getuid() == 0 {
		return asNobody
	}
	return ""
}

func checkBadInputs(t *testing.T, dir string, inputs []badInput) {
	t.Helper()
	for _, tt := range inputs {
		t.Run(tt.name, func(t *testing.T) {
			c := arranged(t, tt.arrange, append([]string{"boot"}, tt.args...)...)
			c.Dir = dir
			before := listing(t, dir)
			r := finish(t, c)
			if r.status != statusUsage || r.stdout != "" {
				t.Errorf("want exit status 1 and no output: %v", r)
			}
			checkOneLine(t, r.stderr, tt.want)
			if after := listing(t, dir); after != before {
				t.Errorf("the files were\n%sand are\n%s", before, after)
			}
		})
	}
}

// listing tells of every file what a change to it would change.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s %d %s", path, info.Mode(), info.Size(), info.ModTime())
		if path == filepath.Join(dir, "disk.img") {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", content)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDiskInUse has another process, which is this one, use the disk.
func TestDiskInUse(t *testing.T) {
	dir := inputDir(t)
	f, err := blk.OpenFile(filepath.Join(dir, "disk.img"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const want = "disk image disk.img: image is in use"
	checkBadInputs(t, dir, []badInput{
		{"to write", []string{"-d", "disk.img", "kernel"}, want, ""},
		{"to read", []string{"-d", "disk.img,ro", "kernel"}, want, ""},
	})
}

// TestUnknownCommand holds that what is said of commands is one line as well.
func TestUnknownCommand(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"frobnicate"}, `unknown command "frobnicate"`},
		{[]string{"boto"}, `unknown command "boto"`},
		{[]string{"check", "now"}, "see govmm check --help"},
		{[]string{"version", "1"}, "see govmm version --help"},
	} {
		r := finish(t, command(t, tt.args...))
		if r.status != statusUsage || r.stdout != "" {
			t.Errorf("%q: %v", tt.args, r)
		}
		checkOneLine(t, r.stderr, tt.want)
	}
}

// TestMissingCapability reports what machine.New gives for a KVM that lacks something.
func TestMissingCapability(t *testing.T) {
	var stderr bytes.Buffer
	err := &kvm.CapError{Missing: []kvm.Cap{kvm.CapIRQFD, kvm.CapImmediateExit}}
	if got := report(&stderr, fmt.Errorf("%w; govmm check shows them all", err)); got != statusUsage {
		t.Errorf("exit status %d", got)
	}
	checkOneLine(t, stderr.String(), "host lacks KVM_CAP_IRQFD, KVM_CAP_IMMEDIATE_EXIT; govmm check")
}
