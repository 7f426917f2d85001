package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCopyUp looks at the times of change that the kernel keeps: all links on the way to a file, and the file, are touched, and their own times
// stay.
func TestCopyUp(t *testing.T) {
	dir := t.TempDir()
	old := time.Unix(1_000_000_000, 0)
	file := filepath.Join(dir, "real", "file")
	for _, err := range []error{
		os.Mkdir(filepath.Dir(file), 0o755),
		os.WriteFile(file, []byte("x"), 0o644),
		os.Chtimes(file, old, old),
		os.Symlink("real", filepath.Join(dir, "relative")),
		os.Symlink(filepath.Join(dir, "relative"), filepath.Join(dir, "absolute")),
		os.Symlink("file", filepath.Join(dir, "real", "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	paths := []string{
		filepath.Join(dir, "absolute"), filepath.Join(dir, "relative"), filepath.Join(dir, "real", "link"), file,
	}
	before := changes(t, paths)
	time.Sleep(20 * time.Millisecond) // more than the kernel's clock for files ticks in
	copyUp(filepath.Join(dir, "absolute", "link"))
	for i, after := range changes(t, paths) {
		if after == before[i] {
			t.Errorf("%s was not touched", paths[i])
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Equal(old) {
		t.Errorf("the file's time is %v, was %v", info.ModTime(), old)
	}
}

// TestCopyUpEnds is for what is not there, and for links in a circle.
func TestCopyUpEnds(t *testing.T) {
	dir := t.TempDir()
	circle := filepath.Join(dir, "circle")
	if err := os.Symlink(circle, circle); err != nil {
		t.Fatal(err)
	}
	copyUp(circle)
	copyUp(filepath.Join(dir, "missing", "file"))
	settle(filepath.Join(dir, "missing"), true)
}

func changes(t *testing.T, paths []string) []unix.Timespec {
	t.Helper()
	var list []unix.Timespec
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			t.Fatal(err)
		}
		list = append(list, st.Ctim)
	}
	return list
}
