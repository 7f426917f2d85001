package basefs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func needBusybox(t *testing.T) {
	t.Helper()
	if _, err := findBusybox(); err != nil {
		t.Fatal(err)
	}
}

func TestMake(t *testing.T) {
	needBusybox(t)
	cache := filepath.Join(t.TempDir(), "cache")
	dir, err := Make(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(dir, "bin/echo"), "hello").Output()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("%q: %v", out, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "tmp")); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("tmp: %v, %v", info, err)
	}
	alone(t, cache)
}

// alone holds that a cache has one root file system and nothing half made.
func alone(t *testing.T, cache string) {
	t.Helper()
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestUsedAgain(t *testing.T) {
	needBusybox(t)
	cache := t.TempDir()
	dir, err := Make(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Make(t.Context(), cache); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(dir); err != nil || !os.SameFile(before, after) {
		t.Errorf("made again: %v", err)
	}
}

func TestDamaged(t *testing.T) {
	needBusybox(t)
	for name, damage := range map[string]func(dir string) error{
		"cut short": func(dir string) error { return os.Truncate(filepath.Join(dir, "bin/busybox"), 1000) },
		"half made": func(dir string) error { return os.Remove(filepath.Join(dir, last)) },
		"a file":    func(dir string) error { return replaceByFile(dir) },
	} {
		cache := t.TempDir()
		dir, err := Make(t.Context(), cache)
		if err != nil {
			t.Fatal(err)
		}
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Make(t.Context(), cache); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := exec.Command(filepath.Join(dir, "bin/true")).Run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		alone(t, cache)
	}
}

func replaceByFile(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.WriteFile(dir, nil, 0o600)
}

func TestSeveralAtOnce(t *testing.T) {
	needBusybox(t)
	cache := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Make(t.Context(), cache); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	alone(t, cache)
}

func TestStatic(t *testing.T) {
	script := filepath.Join(t.TempDir(), "busybox")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{script, "/bin/cat", "/nonexistent"} {
		if static(path) == nil {
			t.Errorf("%s is taken to be static", path)
		}
	}
}

func TestRemedy(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	path, err := findBusybox()
	if err != nil && !strings.HasSuffix(err.Error(), remedy) || err == nil && path != usual {
		t.Errorf("%q, %v", path, err)
	}
}
