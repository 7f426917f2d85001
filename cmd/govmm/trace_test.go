package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tracereport "govmm/trace/report"
)

func TestTraceFlag(t *testing.T) {
	for text, want := range map[string]traceFlag{
		"boot.json":              {path: "boot.json"},
		"a,,b.json":              {path: "a,b.json"},
		"boot.json,records=1000": {path: "boot.json", records: 1000},
	} {
		var f traceFlag
		if err := f.Set(text); err != nil || f != want {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
	for text, want := range map[string]string{
		"": "no path", ",records=1": "no path", "x,size=1": "not known", "x,records=0": "from 1 to", "x,records=99999999": "from 1 to", "x,records=many": "from 1 to",
	} {
		var f traceFlag
		if err := f.Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

const smallTrace = "../../trace/testdata/small.json"

func TestTraceCommands(t *testing.T) {
	run := func(args ...string) result { return finish(t, command(t, append([]string{"trace"}, args...)...)) }
	if r := run("summary", smallTrace); r.status != 0 || r.stderr != "" || !strings.Contains(r.stdout, "virtio0 block: operation 1") {
		t.Error(r)
	}
	var s tracereport.Summary
	if r := run("summary", "--json", smallTrace); r.status != 0 || json.Unmarshal([]byte(r.stdout), &s) != nil || len(s.CPUs) != 2 {
		t.Error(r)
	}
	if r := run("html", "-o", "-", smallTrace); r.status != 0 || !strings.HasPrefix(r.stdout, "<!DOCTYPE html>") {
		t.Error(r)
	}
	copied := filepath.Join(t.TempDir(), "boot.json")
	b, err := os.ReadFile(smallTrace)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(t.TempDir(), "linked.html")
	if err := os.Symlink(copied, linked); err != nil {
		t.Fatal(err)
	}
	page := strings.TrimSuffix(copied, ".json") + ".html"
	if r := run("html", copied); r.status != 0 || r.stdout != "" {
		t.Error(r)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.HasSuffix(string(b), "</html>\n") {
		t.Errorf("%v, %d bytes", err, len(b))
	}
	for want, args := range map[string][]string{
		"takes one FILE":          {"summary"},
		"no such file":            {"summary", "/none"},
		"over its trace":          {"html", "-o", copied, copied},
		"over its trace;":         {"html", "-o", linked, copied},
		"not a trace of govmm's":  {"summary", page},
		"not a trace of govmm's:": {"html", page, "-o", "-"},
	} {
		r := run(args...)
		if r.status != 1 || r.stdout != "" {
			t.Errorf("%q: %+v", args, r)
		}
		checkOneLine(t, r.stderr, strings.TrimRight(want, ":;"))
	}
}
