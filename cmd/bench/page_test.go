package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden page anew")

// TestPage renders a report in which something fails, is missing and is only partly measured.
func TestPage(t *testing.T) {
	r, err := readReport("testdata/benchmarks.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := renderPage(r)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/benchmarks.md"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the page differs from %s; see with: go test ./cmd/bench -update && git diff\n%s", golden, got)
	}
}

// TestClocks is that a page says what its figures are.
func TestClocks(t *testing.T) {
	r, err := readReport("testdata/benchmarks.json")
	if err != nil {
		t.Fatal(err)
	}
	says := []string{"is a count of instructions", "figures in ms and ns are times", "says anything of hardware"}
	for _, test := range []struct {
		nested, virtual, hardware bool
		want                      int
	}{
		{true, true, true, 0},
		{false, false, true, 1},
		{true, false, true, 2},
		{false, false, false, 2},
	} {
		r.Host.Nested, r.Host.VirtualTime, r.Host.Hardware = test.nested, test.virtual, test.hardware
		page, err := renderPage(r)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range says {
			if bytes.Contains(page, []byte(s)) != (i == test.want) {
				t.Errorf("%+v: the page should say %q; it is:\n%s", test, says[test.want], page)
			}
		}
	}
}

// TestPublishedPage holds that every figure on the page is one of the run that is published with it.
func TestPublishedPage(t *testing.T) {
	dir := filepath.Join("..", "..", "docs")
	r, err := readReport(filepath.Join(dir, reportName))
	if err != nil {
		t.Fatal(err)
	}
	want, err := renderPage(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, pageName))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/%s is not what docs/%s gives; run: go run ./cmd/bench -render docs/%[2]s", pageName, reportName)
	}
}

// TestMatch holds that a figure that is not asked for is not measured, nor its guest run when none of it is.
func TestMatch(t *testing.T) {
	b := &bench{o: &options{match: regexp.MustCompile(`tap/tiny-2.*receive/govmm`)}, files: &stage{"/x"}, report: new(report), progress: io.Discard}
	for _, name := range []string{stock612, stock61, tiny} {
		b.kernels = append(b.kernels, &kernel{name: name})
	}
	l, ran := &lab{bench: b}, 0
	for _, trial := range l.taps() {
		trial.measure = func([]string, []string) (map[string]float64, error) {
			ran++
			return map[string]float64{"ping": 1, "send": 2, "receive": 3}, nil
		}
		b.try(trial, 1)
	}
	if ran != 1 {
		t.Errorf("%d guests ran, not the one", ran)
	}
	for _, f := range b.report.Figures {
		if want := b.o.match.MatchString(f.ID); want != (len(f.Samples) == 1 && f.Samples[0] == 3) || want == (f.Missing != "") {
			t.Errorf("%s: samples %v, missing %q", f.ID, f.Samples, f.Missing)
		}
	}
}

// TestGoalsHaveFigures holds that no goal waits for a figure that nobody makes.
func TestGoalsHaveFigures(t *testing.T) {
	b := &bench{o: &options{runs: 1}, files: &stage{"/x"}, report: new(report)}
	for _, name := range []string{stock612, stock61, tiny} {
		k := &kernel{name: name}
		b.bootsOf(k)
		b.kernels = append(b.kernels, k)
	}
	l := &lab{bench: b}
	for _, list := range [][]trial{l.disks(), l.taps(), l.users(), l.idles(), l.frees()} {
		if len(list) == 0 {
			t.Error("no trials")
		}
	}
	made := map[string]bool{}
	for _, f := range b.report.Figures {
		made[f.ID] = true
	}
	for _, g := range goals {
		for _, id := range append([]string{g.figure}, g.beside...) {
			if part, _, _ := strings.Cut(id, "/"); (part == "boot" || part == "devices") && !made[id] {
				t.Errorf("%s: there is no figure %s", g.what, id)
			}
		}
	}
}
