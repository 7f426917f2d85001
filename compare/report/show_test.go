package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSample(t *testing.T) {
	r := sample(t)
	for format := range formats {
		s := write(t, r, format)
		if s != write(t, r, format) {
			t.Errorf("%s differs from one time to the next", format)
		}
		if format == "pictures" || format == "narrow" {
			continue
		}
		for _, c := range r.Claims {
			for _, want := range []string{c.Title, string(c.Verdict)} {
				// HTML writes apostrophes otherwise, and the table breaks lines.
				s := strings.Join(strings.Fields(strings.ReplaceAll(s, "&#39;", "'")), " ")
				if !strings.Contains(s, want) {
					t.Errorf("%s has no %q", format, want)
				}
			}
		}
	}
}

func TestTable(t *testing.T) {
	s := write(t, sample(t), "table")
	for _, want := range []string{
		"\n 6  VMs start slowly, containers in milliseconds  — does not hold\n",
		"✓ each container's boot id is the host's",
		"✗ a container can be given a kernel panic of its own",
		"[1] not measured: there is no neighbour\n",
		"Missing here\n  - kernel 6.1",
		"– [1]", "147 MiB",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q in\n%s", want, s)
		}
	}
	if strings.Contains(s, "\x1b") {
		t.Error("colours that nobody asked for")
	}
	for _, width := range []int{20, 40, 60, 100, 200} {
		var b bytes.Buffer
		if err := sample(t).WriteTable(&b, TableOptions{Width: width, Color: true}); err != nil {
			t.Fatal(err)
		}
		plain := regexp.MustCompile(`\x1b\[[0-9]+m`).ReplaceAllString(b.String(), "")
		checkPrintable(t, "coloured table", plain)
		for _, line := range strings.Split(plain, "\n") {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("%d characters where %d have room: %q", n, width, line)
			}
		}
	}
}

func TestHTML(t *testing.T) {
	s := write(t, sample(t), "HTML")
	for _, bad := range []string{"<script", "<link", "@import", "url(", "src=", "<?xml", "ZgotmplZ"} {
		if strings.Contains(s, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	// The only address is the name of SVG.
	if n := strings.Count(s, "http"); n != strings.Count(s, `xmlns="http://www.w3.org/2000/svg"`) {
		t.Errorf("%d addresses", n)
	}
	for _, want := range []string{"<title>Virtual machines beside containers</title>", "badge good", "badge part", "badge bad", "badge none", "<summary>How it was measured</summary>", "<summary>What this cannot show</summary>"} {
		if !strings.Contains(s, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	s := write(t, sample(t), "Markdown")
	for _, want := range []string{
		"# Virtual machines beside containers\n\n`make compare` writes this page",
		"What distorts these figures: Every number here is invented",
		"](pictures/startup.svg)", "](pictures/memory.svg)", "](pictures/clones.svg)", "](pictures/speed.svg)",
		"| – | 133\u00a0ms (p99\u00a0183) | – | – |", "\n\\[1\\] not measured: there is no neighbour<br>\n", "| uname -r | 6.18.5-sample |",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q in\n%s", want, s)
		}
	}
	if strings.Contains(s, "\n\n\n") {
		t.Error("empty lines follow each other")
	}
}

func TestEscapeMarkdown(t *testing.T) {
	for in, want := range map[string]string{
		"- a": `\- a`, "1. a": `1\. a`, "---": `\---`, "+ a": `\+ a`, "1.5 ms": "1.5 ms", "-1": "-1", "a|b": `a\|b`, "<b>": "&lt;b&gt;",
	} {
		if got := escapeMarkdown(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Seconds, 0.0123, "12.3 ms"}, {Seconds, 0, "0 s"}, {Seconds, 0.99999, "1.00 s"}, {Seconds, 2e-9, "2.00 ns"}, {Seconds, 123, "123 s"},
		{Bytes, 36909875, "35.2 MiB"}, {Bytes, 512, "512 bytes"}, {Bytes, 1 << 40, "1.00 TiB"}, {BytesPerS, 2.9e9, "2.90 GB/s"},
		{RatioUnit, 1.04, "1.04x"}, {RatioUnit, 123.4, "123x"}, {PercentCPU, 97.94, "97.9%"}, {Count, 42, "42"}, {Count, 1234567, "1,234,567"},
		{Count, 1.5, "1.50"}, {PerSecond, 12345, "12,345/s"}, {Count, -12345, "-12,345"}, {Bytes, 1e300, "9.09e+287 TiB"},
	} {
		if got := c.unit.Format(c.v); got != c.want {
			t.Errorf("%g of %q is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestFigure(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i+1) / 1000
	}
	for want, f := range map[string]*Figure{
		"10.0 ms":            NewFigure([]float64{.01}),
		"10.5 ms (max 11.0)": NewFigure([]float64{.01, .011}),
		"50.5 ms (p99 99.0)": NewFigure(hundred),
		"10.0 ms (max 2000)": NewFigure([]float64{.01, .01, 2}),
		"0 s":                {},
	} {
		if got := strings.ReplaceAll(Seconds.figure(f), hold, " "); got != want {
			t.Errorf("figure is %q, want %q", got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		s     string
		width int
		want  string
	}{
		{"", 5, ""}, {"a b c", 3, "a b|c"}, {"abcdefg", 3, "abc|def|g"}, {"ab cdefg h", 3, "ab|cde|fg|h"}, {"äöü äöü", 3, "äöü|äöü"}, {"a", 0, "a"},
		{"12" + hold + "ms x", 5, "12" + hold + "ms|x"},
	} {
		if got := strings.Join(wrap(c.s, c.width), "|"); got != c.want {
			t.Errorf("%q in %d is %q, want %q", c.s, c.width, got, c.want)
		}
	}
}

// TestSmall has reports of little: every format writes them.
func TestSmall(t *testing.T) {
	vm := []Subject{{ID: "vm", Title: "virtual machine", Kind: KindVM}}
	row := func(id string, u Unit, samples ...float64) Row {
		return Row{ID: id, Title: id, Unit: u, Cells: []Cell{{Subject: "vm", Figure: NewFigure(samples)}}}
	}
	for name, c := range map[string]struct {
		report   Report
		pictures int
	}{
		"nothing":        {Report{}, 0},
		"no rows":        {Report{Subjects: vm, Claims: []Claim{{Number: 1, Key: "a", Title: "a", Verdict: NotMeasured}}}, 0},
		"no cells":       {Report{Subjects: vm, Claims: []Claim{{Rows: []Row{{Title: "a"}}}}}, 0},
		"no subject":     {Report{Claims: []Claim{{Rows: []Row{row("startup/a", Seconds, 1)}}}}, 0},
		"one sample":     {Report{Subjects: vm, Claims: []Claim{{Key: "a", Rows: []Row{row("startup/a", Seconds, 1)}}}}, 1},
		"one instance":   {Report{Subjects: vm, Claims: []Claim{{Key: "a", Rows: []Row{row("memory/1", Bytes, 1)}}}}, 1},
		"equal samples":  {Report{Subjects: vm, Claims: []Claim{{Key: "a", Rows: []Row{row("startup/a", Seconds, 1, 1, 1)}}}}, 1},
		"nothing at all": {Report{Subjects: vm, Claims: []Claim{{Key: "a", Rows: []Row{row("startup/a", Seconds, 0), row("b", RatioUnit, 0), row("memory/0", Bytes, 0)}}}}, 2},
		"far apart":      {Report{Subjects: vm, Claims: []Claim{{Key: "a", Rows: []Row{row("startup/a", Seconds, 1e-11, 1e14), row("b", RatioUnit, 1e14)}}}}, 2},
		"all kinds":      {Report{Subjects: vm, Claims: []Claim{{Key: "a", Rows: []Row{row("startup/a", Seconds, 1), row("b", RatioUnit, 1), row("memory/1", Bytes, 1)}}}}, 3},
	} {
		for format := range formats {
			write(t, &c.report, format)
		}
		plots, err := c.report.Plots()
		if err != nil || len(plots) != c.pictures {
			t.Errorf("%s: %d pictures, want %d; %v", name, len(plots), c.pictures, err)
		}
	}
}

// TestLikeSubjects has two subjects without a title and with claims of one key.
func TestLikeSubjects(t *testing.T) {
	figure := NewFigure([]float64{1})
	claim := Claim{Key: "a", Rows: []Row{{ID: "x", Unit: RatioUnit, Cells: []Cell{{Subject: "a", Figure: figure}, {Subject: "b", Figure: figure}}}}}
	r := Report{Subjects: []Subject{{ID: "a"}, {ID: "b"}}, Claims: []Claim{claim, claim, claim}}
	plots, err := r.Plots()
	if err != nil || len(plots) != 3 || plots[0].Name != "a" || plots[1].Name != "a-ratios" || plots[2].Name != "a-ratios-2" {
		t.Errorf("%+v %v", plots, err)
	}
	if n := strings.Count(write(t, &r, "HTML"), `<svg `); n != 3 {
		t.Errorf("%d pictures in the page", n)
	}
}
