package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var pageText string

// writePage renders r's page.
func writePage(path string, r *report) error {
	page, err := renderPage(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, page, 0o644)
}

func renderPage(r *report) ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"code": func(s string) string { return "`" + s + "`" },
		"oneline": func(s string) string {
			line, _, _ := strings.Cut(s, "\n")
			return line
		},
		"mib": func(bytes float64) string { return fmt.Sprintf("%.2f MiB", bytes/(1<<20)) },
	}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page{r}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// page is what the template asks. All its figures are computed from the report's samples.
type page struct{ *report }

// A goalRow is a line of the table of goals.
type goalRow struct{ What, Limit, Measured, Verdict string }

func (p page) Goals() []goalRow {
	var rows []goalRow
	for _, g := range goals {
		row := goalRow{What: g.what, Limit: "at most " + g.show(g.limit.most), Measured: "not measured", Verdict: "-"}
		if !g.limit.upper() {
			row.Limit = "at least " + g.show(g.limit.least)
		}
		if v, ok := g.value(p.report); ok {
			row.Measured, row.Verdict = g.show(v), "pass"
			if !g.limit.holds(v) {
				row.Verdict = "**fail**"
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// A row is a figure with its summary in words.
type row struct {
	*figure
	N, Median, Spread string
	beside            func(id string) string
}

// Of is the ratio of the row's median and that of another figure.
func (r row) Of(id string) string { return r.beside(id) }

func (p page) row(f *figure) row {
	r := row{figure: f, N: "0", Median: "not measured", Spread: "-", beside: func(string) string { return "-" }}
	if len(f.Samples) == 0 {
		return r
	}
	s := summarize(f.Samples)
	unit := unitOf(f.Kind, s.Median)
	r.N, r.Median = strconv.Itoa(s.N), strings.TrimSpace(unit.show(s.Median)+" "+unit.name)
	r.Spread = unit.show(s.Min) + " to " + unit.show(s.Max)
	r.beside = func(id string) string {
		if d, ok := median(p.report, id); ok {
			return fmt.Sprintf("%.2f", s.Median/d)
		}
		return "-"
	}
	return r
}

// A kernelTable is what the page has of a kernel's boots.
type kernelTable struct {
	Name    string
	Rows    []row
	bzImage string
	vmlinux string
}

func (t kernelTable) QEMUBzImage() string { return t.bzImage }
func (t kernelTable) QEMUVmlinux() string { return t.vmlinux }

// Boots gives a table for each kernel.
func (p page) Boots() []kernelTable {
	var tables []kernelTable
	for _, f := range p.Figures {
		part, rest, _ := strings.Cut(f.ID, "/")
		if part != "boot" {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if len(tables) == 0 || tables[len(tables)-1].Name != name {
			prefix := "boot/" + name + "/"
			tables = append(tables, kernelTable{Name: name, bzImage: prefix + "qemu-bzImage", vmlinux: prefix + "qemu-vmlinux"})
		}
		t := &tables[len(tables)-1]
		t.Rows = append(t.Rows, p.row(f))
	}
	return tables
}

// Rows are those of a part.
func (p page) Rows(part string) []row {
	var rows []row
	for _, f := range p.Figures {
		if strings.HasPrefix(f.ID, part+"/") {
			rows = append(rows, p.row(f))
		}
	}
	return rows
}

// Beside is the C side's figure for one in Go.
func (r row) Beside() string { return strings.TrimSuffix(r.ID, "/go") + "/c" }

// InGo tells the rows of exits apart.
func (r row) InGo() bool { return strings.HasSuffix(r.ID, "/go") }

// Unmeasured are the figures without samples.
func (p page) Unmeasured() []*figure {
	var list []*figure
	for _, f := range p.Figures {
		if f.Missing != "" {
			list = append(list, f)
		}
	}
	return list
}

// Failures counts the runs that failed.
func (p page) Failures() int { return p.failures() }

// Partial reports that not all was measured.
func (p page) Partial() bool { return len(p.Parts) < len(parts) }

// Shell is a figure's command as one types it in the directory of what is measured.
func (p page) Shell(f *figure) string {
	var words []string
	for _, w := range slices.Concat(f.Env, f.Command) {
		w = strings.ReplaceAll(w, p.Dir+"/", "")
		if strings.ContainsAny(w, " ^$") {
			w = "'" + w + "'"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// A unit shows values of the base unit of their kind.
type unit struct {
	name   string
	size   float64
	digits int
}

// unitOf is for a value and others like it.
func unitOf(kind string, v float64) unit {
	switch {
	case kind == kindRate:
		return unit{"/s", 1, 0}
	case kind == kindThroughput:
		return unit{"MB/s", 1e6, 1}
	case kind == kindCount:
		return unit{"", 1, 0}
	case kind == kindShare:
		return unit{"%", 0.01, 2}
	case kind == kindMemory:
		return unit{"MiB", 1 << 20, 2}
	case v >= 100e6:
		return unit{"ms", 1e6, 0}
	case v >= 1e6:
		return unit{"ms", 1e6, 2}
	}
	return unit{"ns", 1, 0}
}

// show writes v with its thousands apart.
func (u unit) show(v float64) string {
	s := strconv.FormatFloat(math.Abs(v)/u.size, 'f', u.digits, 64)
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
