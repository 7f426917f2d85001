package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmm/bootimage/kernelcache"
)

// keepKernels fills a cache directory and gives a command that uses it.
func keepKernels(t *testing.T, versions ...string) (run func(args ...string) result) {
	t.Helper()
	cache := t.TempDir()
	dir := kernelcache.Dir{Path: filepath.Join(cache, "govmm", "unpacked")}
	for _, v := range versions {
		e, err := dir.Open(nil, []byte("packed "+v), func([]byte) ([]byte, error) {
			return append([]byte("Linux version "+v+" (somebody)"), make([]byte, 1<<20)...), nil
		})
		if err != nil || e.Err != nil {
			t.Fatal(err, e.Err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return func(args ...string) result {
		c := command(t, append([]string{"image"}, args...)...)
		c.Env = append(c.Env, "XDG_CACHE_HOME="+cache)
		return finish(t, c)
	}
}

func TestImageCommands(t *testing.T) {
	run := keepKernels(t, "6.1.1", "6.2.2", "6.3.3")
	if r := run("list"); r.status != 0 || r.stderr != "" || !strings.Contains(r.stdout, "6.2.2") || !strings.Contains(r.stdout, "3 in all") {
		t.Error(r)
	}
	var list []imageInfo
	if r := run("list", "--json"); json.Unmarshal([]byte(r.stdout), &list) != nil || len(list) != 3 {
		t.Fatal(r)
	}
	b, err := os.ReadFile(list[0].Path)
	if err != nil || !bytes.HasPrefix(b, []byte("Linux version "+list[0].Version)) || int64(len(b)) != list[0].Size || len(list[0].Sum) != 64 {
		t.Errorf("%+v, %v", list[0], err)
	}
	if r := run("prune", "--keep", "2M", "--json"); json.Unmarshal([]byte(r.stdout), &list) != nil || len(list) != 2 || list[0].Version == "" {
		t.Error(r)
	}
	if r := run("prune"); r.status != 0 || !strings.Contains(r.stdout, "1 in all") {
		t.Error(r)
	}
	if r := run("list", "--json"); strings.TrimSpace(r.stdout) != "[]" {
		t.Error(r)
	}
}

func TestNoCacheDirectory(t *testing.T) {
	c := command(t, "image", "list")
	c.Env = []string{envAsCommand + "=1"}
	r := finish(t, c)
	if r.status != 1 {
		t.Error(r)
	}
	checkOneLine(t, r.stderr, "set HOME or XDG_CACHE_HOME")
}
