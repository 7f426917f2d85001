package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// hostile is what a guest might write to command a terminal, a browser or GitHub.
const hostile = "<script>alert(1)</script>\x1b[31m\x9b31m\u009b2J\r\n\x00\u202e\"'&]]> | `x` {{.}} [a](http://evil.example) ![b](c) www.evil.example @user \\ $x$ <!-- \xff"

// hostileReport has that in every string.
func hostileReport() *Report {
	return &Report{
		Version: Version, Command: []string{hostile}, Host: Host{Kernel: hostile, CPU: hostile, CPUs: 1},
		Subjects: []Subject{{ID: hostile, Title: hostile, Kind: hostile, Version: hostile}},
		Claims: []Claim{{
			Number: 1, Key: "../" + hostile, Title: hostile, Verdict: hostile, Finding: hostile, How: hostile, Limits: hostile,
			Rows: []Row{
				{ID: hostile, Title: hostile, Cells: []Cell{{Subject: hostile, Text: hostile}}},
				{ID: hostile, Title: hostile, Cells: []Cell{{Subject: hostile, Missing: hostile}}},
				{ID: "startup/" + hostile, Title: hostile, Unit: Seconds, Cells: []Cell{{Subject: hostile, Figure: NewFigure([]float64{1, 2})}}},
				{ID: hostile, Title: hostile, Unit: RatioUnit, Cells: []Cell{{Subject: hostile, Figure: NewFigure([]float64{1})}}},
				{ID: hostile + "/a/1", Title: hostile, Unit: Bytes, Cells: []Cell{{Subject: hostile, Figure: NewFigure([]float64{1})}}},
				{ID: hostile + "/b/2", Title: hostile, Unit: Bytes, Cells: []Cell{{Subject: hostile, Figure: NewFigure([]float64{2})}}},
			},
			Checks: []Check{{Text: hostile}},
		}},
		Missing: []string{hostile}, Notes: []string{hostile},
	}
}

// formats are all the ways to write a report.
var formats = map[string]func(*Report, io.Writer) error{
	"table":    func(r *Report, w io.Writer) error { return r.WriteTable(w, TableOptions{}) },
	"narrow":   func(r *Report, w io.Writer) error { return r.WriteTable(w, TableOptions{Width: 1}) },
	"JSON":     (*Report).WriteJSON,
	"HTML":     (*Report).WriteHTML,
	"Markdown": func(r *Report, w io.Writer) error { return r.WriteMarkdown(w, "pictures") },
	"pictures": func(r *Report, w io.Writer) error {
		plots, err := r.Plots()
		for _, p := range plots {
			w.Write(p.SVG)
		}
		return err
	},
}

// write gives what a format writes.
func write(t testing.TB, r *Report, format string) string {
	t.Helper()
	var b bytes.Buffer
	if err := formats[format](r, &b); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.String()
}

// checkPrintable fails if s has anything that controls a terminal.
func checkPrintable(t testing.TB, format, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && r != '\t' && r != '\u00a0' && !unicode.IsPrint(r) {
			t.Fatalf("%s has the character %U", format, r)
		}
	}
}

func TestHostile(t *testing.T) {
	for format := range formats {
		s := write(t, hostileReport(), format)
		checkPrintable(t, format, s)
		if format != "table" && format != "narrow" && strings.Contains(s, "<script") {
			t.Errorf("%s has the script", format)
		}
	}
	page := write(t, hostileReport(), "Markdown")
	for _, bad := range []string{" | `x`", "[a](", "![b]", "http://", "www.", "@user", "$x$", "<!--"} {
		if strings.Contains(page, bad) {
			t.Errorf("the Markdown has %q:\n%s", bad, page)
		}
	}
}

func TestHostileNames(t *testing.T) {
	plots, err := hostileReport().Plots()
	if err != nil || len(plots) != 3 {
		t.Fatalf("%d pictures: %v", len(plots), err)
	}
	var names []string
	for _, p := range plots {
		if p.Name == "" || strings.ContainsAny(p.Name, "./<\"") || slices.Contains(names, p.Name) {
			t.Errorf("name %q after %q", p.Name, names)
		}
		names = append(names, p.Name)
		checkXML(t, p.SVG)
	}
}

// checkXML holds that a picture is whole, and says what it is.
func checkXML(t testing.TB, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	var elements []string
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok {
			elements = append(elements, e.Name.Local)
		}
	}
	if len(elements) < 3 || elements[0] != "svg" || elements[1] != "title" || elements[2] != "style" {
		t.Fatalf("elements are %q", elements)
	}
	if slices.Contains(elements, "script") || slices.Contains(elements, "image") {
		t.Fatalf("elements are %q", elements)
	}
}

func FuzzReadJSON(f *testing.F) {
	var b bytes.Buffer
	if err := hostileReport().WriteJSON(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"version":1,"subjects":[{"id":"a"}],"claims":[{"rows":[{"id":"m/1","unit":"bytes","cells":[{"subject":"a","figure":{"median":1e300}}]}]}]}`))
	f.Add([]byte(`{"version":1,"subjects":[{"id":"a"}],"claims":[{"rows":[{"id":"startup/a","unit":"s","cells":[{"subject":"a","figure":{"samples":[1e-300,-1,0,1e14]}}]}]}]}`))
	f.Add([]byte(`{"version":1,"subjects":[{"id":"a"}],"claims":[{"rows":[{"unit":"ratio","cells":[{"subject":"a","figure":{"median":9e14}}]}]}]}`))
	f.Add([]byte(`{"version":1,"subjects":[{"id":"a"}],"claims":[{"rows":[{"title":"` + strings.Repeat("wide ", 100) + `","unit":"ratio","cells":[{"subject":"a","figure":{"median":1}}]}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ReadJSON(bytes.NewReader(text))
		if err != nil {
			return
		}
		first := write(t, r, "JSON")
		again, err := ReadJSON(strings.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		if second := write(t, again, "JSON"); second != first {
			t.Fatalf("%s\nis then\n%s", first, second)
		}
		for format := range formats {
			checkPrintable(t, format, write(t, r, format))
		}
		plots, err := r.Plots()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range plots {
			checkXML(t, p.SVG)
		}
	})
}
