package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRunRefuses holds that what run cannot begin with is a line that says what to do.
func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	notTar, empty := filepath.Join(dir, "text"), filepath.Join(dir, "empty")
	for path, text := range map[string]string{notTar: "this is no archive, but long enough to be looked at", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	large := filepath.Join(dir, "large")
	if err := os.Mkdir(large, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(large, "file"), make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"run"}, statusUsage, "run takes a command"},
		{[]string{"run", "true"}, statusRun, "--rootfs DIR|TAR is missing"},
		{[]string{"run", "--rootfs", dir, "true"}, statusRun, "make kernel"},
		{[]string{"run", "--kernel", "k", "--rootfs", filepath.Join(dir, "none"), "true"}, statusRun, "none: no such file"},
		{[]string{"run", "--kernel", "k", "--rootfs", notTar, "true"}, statusRun, "--rootfs: "},
		{[]string{"run", "--kernel", "k", "--rootfs", empty, "true"}, statusRun, "--rootfs: "},
		{[]string{"run", "--kernel", filepath.Join(dir, "none"), "--rootfs", dir, "true"}, statusRun, "kernel: "},
		{[]string{"run", "--kernel", "k", "-m", "64M", "--rootfs", large, "true"}, statusRun, "give --memory "},
		{[]string{"run", "--kernel", "k", "--rootfs", dir, "--net", "wifi", "true"}, statusRun, "net \"wifi\" is not known"},
		{[]string{"run", "--terminal", "perhaps", "true"}, statusUsage, "--terminal"},
	} {
		c := command(t, tt.args...)
		c.Env = append(c.Env, "XDG_CACHE_HOME="+dir, kernelVariable+"=")
		r := finish(t, c)
		if r.status != tt.status || r.stdout != "" {
			t.Errorf("%q: want status %d: %v", tt.args, tt.status, r)
		}
		checkOneLine(t, r.stderr, tt.want)
	}
}
