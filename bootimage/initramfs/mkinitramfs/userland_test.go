package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// fakeGo is a go command that counts its builds in the file calls, and whose u-root makes an archive of the arguments.
const fakeGo = `#!/bin/sh
case "$1 $2" in
env*) printf 'go1.26\namd64\nv1\nv8.0\nauto\n' ;;
"list tool") echo github.com/u-root/u-root example.com/ls ;;
"tool u-root")
	echo build >> calls
	test ! -e broken || { echo it is broken >&2; exit 1; }
	test "$CGO_ENABLED" = 0 || exit 1
	echo "$@" > "$4" ;;
esac
`

func newCacheConfig(t *testing.T) config {
	t.Helper()
	dir := t.TempDir()
	cfg := config{uroot: filepath.Join(dir, "uroot"), cache: filepath.Join(dir, "cache"), goCommand: filepath.Join(dir, "go"), log: io.Discard}
	err := errors.Join(
		os.Mkdir(cfg.uroot, 0o755),
		os.WriteFile(cfg.goCommand, []byte(fakeGo), 0o755),
		os.WriteFile(filepath.Join(cfg.uroot, "go.mod"), []byte("module uroot\n"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// builds runs cachedUserland and gives how many builds there were since the last call.
func builds(t *testing.T, cfg config) int {
	t.Helper()
	f, err := cachedUserland(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil || !strings.Contains(string(data), "-base=/dev/null") || !strings.HasSuffix(string(data), " example.com/ls\n") {
		t.Fatalf("u-root was called with %q, %v", data, err)
	}
	calls := filepath.Join(cfg.uroot, "calls")
	data, _ = os.ReadFile(calls)
	// It is in the module's directory, and so would be part of the key.
	if err := os.RemoveAll(calls); err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), "build")
}

func TestCache(t *testing.T) {
	cfg := newCacheConfig(t)
	if n := builds(t, cfg); n != 1 {
		t.Errorf("%d builds for an empty cache, want 1", n)
	}
	if n := builds(t, cfg); n != 0 {
		t.Errorf("%d builds for the same inputs, want 0", n)
	}
	if err := os.WriteFile(filepath.Join(cfg.uroot, "go.mod"), []byte("module other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := builds(t, cfg); n != 1 {
		t.Errorf("%d builds after a change, want 1", n)
	}
}

func TestFailedBuildIsNotCached(t *testing.T) {
	cfg := newCacheConfig(t)
	if err := os.WriteFile(filepath.Join(cfg.uroot, "broken"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := cachedUserland(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("error is %v, want what the go command printed", err)
	}
	if entries, err := os.ReadDir(cfg.cache); err != nil || len(entries) != 0 {
		t.Errorf("the failed build left %v, %v", entries, err)
	}
}

func TestBuildKey(t *testing.T) {
	key := func(env string, files map[string]string) string {
		root := fstest.MapFS{}
		for name, data := range files {
			root[name] = &fstest.MapFile{Data: []byte(data)}
		}
		k, err := buildKey(root, []string{env})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := key("GOARCH=amd64", map[string]string{"go.mod": "m", "cmds/a/main.go": "x"})
	if base != key("GOARCH=amd64", map[string]string{"go.mod": "m", "cmds/a/main.go": "x", "cmds/a/main_test.go": "y"}) {
		t.Error("a test changes the key")
	}
	for name, other := range map[string]string{
		"environment": key("GOARCH=arm64", map[string]string{"go.mod": "m", "cmds/a/main.go": "x"}),
		"content":     key("GOARCH=amd64", map[string]string{"go.mod": "m", "cmds/a/main.go": "y"}),
		"name":        key("GOARCH=amd64", map[string]string{"go.mod": "m", "cmds/b/main.go": "x"}),
		"new file":    key("GOARCH=amd64", map[string]string{"go.mod": "m", "cmds/a/main.go": "x", "go.sum": ""}),
	} {
		if other == base {
			t.Errorf("%s does not change the key", name)
		}
	}
}

func TestPruneCache(t *testing.T) {
	dir := t.TempDir()
	start := time.Now().Add(-time.Hour)
	names := []string{"oldest", "older", "d", "c", "b", "a"}
	for i, name := range names {
		name = filepath.Join(dir, name+".cpio")
		used := start.Add(time.Duration(i) * time.Minute)
		if err := errors.Join(os.WriteFile(name, nil, 0o644), os.Chtimes(name, used, used)); err != nil {
			t.Fatal(err)
		}
	}
	if err := pruneCache(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != keptBuilds || filepath.Base(left[0]) != "a.cpio" || filepath.Base(left[3]) != "d.cpio" {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestParseFlags(t *testing.T) {
	cfg, err := parseFlags([]string{"-o", "x", "-modules", "/m1", "-modules", "/m2", "-module", "ext4", "-files", "a:b:c"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.output != "x" || len(cfg.kernels) != 2 || len(cfg.modules) != 1 || cfg.files[0] != (hostFile{"a", "b:c"}) {
		t.Errorf("flags are %+v", cfg)
	}
	for _, args := range [][]string{{"-files", "a"}, {"-files", ":b"}, {"-files", "a:"}, {"more"}, {"-unknown"}} {
		if _, err := parseFlags(args, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
