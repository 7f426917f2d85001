package debian

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// program is a QEMU of which mend knows all places, the first n of the faults mended already.
func program(n int) []byte {
	p := []byte("before")
	for i, f := range faults {
		if i < n {
			p = append(p, f.whole...)
		} else {
			p = append(p, f.broken...)
		}
		p = append(p, "between"...)
	}
	return p
}

func TestFaults(t *testing.T) {
	for _, f := range faults {
		if len(f.broken) != len(f.whole) || bytes.Equal(f.broken, f.whole) {
			t.Errorf("%s: % x becomes % x", f.name, f.broken, f.whole)
		}
	}
}

func TestMend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qemu")
	whole := program(len(faults))
	for n := range len(faults) + 1 {
		if err := os.WriteFile(path, program(n), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := mended(path); got != (n == len(faults)) {
			t.Errorf("%d of %d mended: %t", n, len(faults), got)
		}
		running, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer running.Close()
		if err := mend(path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%d of %d mended: now % x, %v", n, len(faults), got, err)
		}
		if !mended(path) {
			t.Error("not mended")
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o755 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		before := make([]byte, len(whole))
		if _, err := running.ReadAt(before, 0); err != nil || !bytes.Equal(before, program(n)) {
			t.Errorf("a process that runs it finds % x, %v", before, err)
		}
	}
	if left, _ := filepath.Glob(path + "?*"); left != nil {
		t.Errorf("left %q", left)
	}
}

func TestMendUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qemu")
	last := faults[len(faults)-1]
	for _, program := range [][]byte{
		nil,
		program(0)[:len(program(0))-len("between")-1],
		slices.Concat(program(0), last.broken),
		slices.Concat(program(0), last.whole),
		slices.Concat(program(len(faults)), last.whole),
	} {
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
		if mended(path) {
			t.Errorf("% x: mended", program)
		}
		if err := mend(path); err == nil {
			t.Errorf("% x: no error", program)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, program) {
			t.Errorf("% x became % x, %v", program, got, err)
		}
	}
}

// TestFetchQEMUMendsTheCached: a cache from when fewer faults were known gets the others out, and one that nobody
// knows stays as it is.
func TestFetchQEMUMendsTheCached(t *testing.T) {
	unknown := []byte("another build")
	for _, tt := range []struct {
		name         string
		before, want []byte
	}{
		{"of an earlier version", program(1), program(len(faults))},
		{"mended", program(len(faults)), program(len(faults))},
		{"unknown", unknown, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestCache(t, &fakeApt{})
			dir := filepath.Join(c.dir, "qemu-10-x")
			path := filepath.Join(dir, "usr/bin/qemu-system-x86_64")
			err := errors.Join(
				os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755),
				os.MkdirAll(filepath.Join(dir, "usr/share/qemu"), 0o755),
				os.MkdirAll(filepath.Join(dir, "usr/share/seabios"), 0o755),
				os.WriteFile(path, tt.before, 0o755),
				c.choose(qemuName, dir),
			)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.FetchQEMU(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, tt.want) {
				t.Errorf("% x, %v", got, err)
			}
			if q := c.QEMU(); q.Program != path {
				t.Errorf("%+v", q)
			}
		})
	}
}
