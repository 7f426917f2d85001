package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const log = `=== RUN   TestTinyKill
=== ATTR  TestTinyKill reliability kills=200
=== ATTR  TestTinyKill other kills=1
=== ATTR  TestTinyKill reliability
--- PASS: TestTinyKill (1.00s)
=== ATTR  TestHostile/net reliability hostile net: requests=12|3
=== ATTR  TestHostileKernel/6.1 reliability hostile kernel 6.1: writes=7
PASS
`

// TestRun writes a page, and then one of another run, which keeps what it does not measure.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "first.log")
	if err := os.WriteFile(first, []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-dir", dir, "-date", "2001-02-03", first}, nil); err != nil {
		t.Fatal(err)
	}
	second := "=== ATTR  TestTinyBootsInARow reliability boots=1000\nPASS\n"
	if err := run([]string{"-dir", dir, "-date", "2002-03-04"}, strings.NewReader(second)); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, pageName))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 200 times, not measured of them", "| 2001-02-03 |",
		"| boots in one process | 1000 |", "| 2002-03-04 |",
		"| hostile | requests | date |", "| net | 12\\|3 | 2001-02-03 |",
		"| hostile kernel | writes | date |", "| 6.1 | 7 | 2001-02-03 |",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// TestFuzz holds what is told of fuzz targets: the last of what go test has said, once it has ended well.
func TestFuzz(t *testing.T) {
	const begun = `=== RUN   FuzzSession
fuzz: elapsed: 0s, gathering baseline coverage: 41/41 completed, now fuzzing with 2 workers
fuzz: elapsed: 3s, execs: 139240 (46410/sec), new interesting: 4 (total: 45)
fuzz: elapsed: 1m6s, execs: 280590 (47115/sec), new interesting: 10 (total: 51)
`
	all := figures{}
	if err := all.read(strings.NewReader(begun + "--- PASS: FuzzSession (66.05s)\n=== NAME  \nPASS\nok  \tgovmm/agent\t66.064s\n")); err != nil {
		t.Fatal(err)
	}
	time, executions := all["fuzz target agent.FuzzSession: time"], all["fuzz target agent.FuzzSession: executions"]
	if len(all) != 2 || time.Value != "1m6s" || executions.Value != "280590" {
		t.Errorf("%v", all)
	}
	for _, end := range []string{"", "--- FAIL: FuzzSession (66.05s)\nFAIL\n"} {
		all := figures{}
		if err := all.read(strings.NewReader(begun + end)); len(all) > 0 || end != "" && err == nil {
			t.Errorf("%q: %v, %v", end, all, err)
		}
	}
}

// TestFailures holds that a page is made of tests that have passed only.
func TestFailures(t *testing.T) {
	for name, text := range map[string]string{
		"a test failed": "=== ATTR  TestA reliability a=1\n    --- FAIL: TestA/b (0.1s)\nFAIL\n",
		"no end":        "=== ATTR  TestA reliability a=1\n",
	} {
		dir := t.TempDir()
		if err := run([]string{"-dir", dir}, strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %v was written", name, left)
		}
	}
	if err := run([]string{filepath.Join(t.TempDir(), "missing.log")}, nil); err == nil {
		t.Error("a log that is not there: no error")
	}
}
