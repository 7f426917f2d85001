package docs

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the sources of pictures that are made from code and from architecture.md")

const pictures = "pictures"

// A look is Graphviz's attributes of a box. Colours say whose it is, in all pictures.
type look string

const (
	own     look = `` // govmm's: nodeStyle's colours
	inGuest look = `fillcolor="#fff1dc" color="#b26a00"`
	kernel  look = `fillcolor="#e0f1e5" color="#2e7d4f"`
	quiet   look = `fillcolor="#eceef1" color="#6b7280"`

	quietInk = "#57606a"

	nodeStyle = "\tnode [fontname=\"Arial\" fontsize=11 shape=box style=\"rounded,filled\" fillcolor=\"#e4edfb\" color=\"#2f5fb3\" height=0.33 margin=\"0.1,0.05\"]\n"
	edgeStyle = "\tedge [color=\"#57606a\" arrowsize=0.7]\n"
)

func generated(what string) string { return "// Made by \"make pictures\": " + what + ".\n" }

// checkSource holds that the picture's source is want, or makes it so.
func checkSource(t *testing.T, name, want string) {
	t.Helper()
	file := filepath.Join(pictures, name)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date; make pictures brings it up to date", file)
	}
}

// TestPicturesDrawn holds that each picture was drawn from its source as it is now, by the program as it is now, and is shown somewhere with a text
// in its place.
func TestPicturesDrawn(t *testing.T) {
	sums := readSums(t)
	var files []string
	for _, pattern := range []string{"*.dot", "*.svg", "draw/*"} {
		found, err := filepath.Glob(filepath.Join(pictures, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(pictures, file)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(content)); got != sums[name] {
			t.Errorf("%s is not what the pictures were drawn with; make pictures draws them again", file)
		}
		delete(sums, name)
		base, isSVG := strings.CutSuffix(name, ".svg")
		if _, err := os.Stat(filepath.Join(pictures, base+".dot")); isSVG && err != nil {
			t.Errorf("%s has no source: %v", file, err)
		}
		if isSVG && !shown(t, name) {
			t.Errorf("no page shows %s with a text in its place", file)
		}
	}
	for name := range sums {
		t.Errorf("%s, of which the pictures were drawn, is gone", name)
	}
}

// readSums reads what sha256sum wrote when the pictures were drawn.
func readSums(t *testing.T) map[string]string {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(pictures, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(list)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			t.Fatalf("line %q of SHA256SUMS", line)
		}
		sums[name] = sum
	}
	return sums
}

func shown(t *testing.T, name string) bool {
	t.Helper()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`!\[[^]]{20,}\]\(` + pictures + "/" + regexp.QuoteMeta(name) + `\)`)
	return slices.ContainsFunc(pages, func(page string) bool {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		return image.Match(text)
	})
}
