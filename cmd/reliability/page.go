package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var pageTemplate string

// missing stands for a figure that no run has given.
const missing = "not measured"

// A page is the figures as the template asks for them.
type page struct {
	all  figures
	used map[string]bool
}

// render makes the page.
func render(all figures) ([]byte, error) {
	p := &page{all: all, used: map[string]bool{}}
	t, err := template.New("page").Option("missingkey=error").Funcs(template.FuncMap{
		"fig": p.value, "date": p.date, "passed": p.passed, "matrix": p.matrix, "rest": p.rest,
	}).Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, nil); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// value is the value of a figure.
func (p *page) value(key string) string {
	p.used[key] = true
	if f, ok := p.all[key]; ok {
		return f.Value
	}
	return missing
}

// date is when a figure was measured.
func (p *page) date(key string) string { return p.all[key].Date }

// passed tells of a test that reports no number.
func (p *page) passed(key string) string {
	if v := p.value(key); v != "passed" {
		return missing
	}
	return "passed " + p.date(key)
}

// matrix gives a table of the figures whose keys begin with prefix, and go on with a name, a colon and what was measured of it: a row for
// each name, and a column for each measure. What the page has shown already is left out.
func (p *page) matrix(prefix string) string {
	rows, columns := map[string]map[string]string{}, map[string]bool{}
	for key, f := range p.all {
		name, measure, ok := strings.Cut(strings.TrimPrefix(key, prefix), ": ")
		if !ok || !strings.HasPrefix(key, prefix) || p.used[key] {
			continue
		}
		p.used[key] = true
		if rows[name] == nil {
			rows[name] = map[string]string{"date": f.Date}
		}
		rows[name][measure], columns[measure] = f.Value, true
	}
	if len(rows) == 0 {
		return missing + "\n"
	}
	titles := append(slices.Sorted(maps.Keys(columns)), "date")
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s |\n|---%s|\n", strings.TrimSpace(prefix), strings.Join(titles, " | "), strings.Repeat("|---", len(titles)))
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "| %s |", cell(name))
		for _, title := range titles {
			fmt.Fprintf(&b, " %s |", cell(cmp.Or(rows[name][title], "-")))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// rest gives a table of all figures that the page has not shown: key, value, test and date.
func (p *page) rest() string {
	var rows []string
	for key, f := range p.all {
		if !p.used[key] {
			rows = append(rows, fmt.Sprintf("| %s | %s | `%s` | %s |", cell(key), cell(f.Value), cell(f.Test), f.Date))
		}
	}
	if len(rows) == 0 {
		return ""
	}
	slices.Sort(rows)
	return "## Other figures\n\n| what | value | test | date |\n|---|---|---|---|\n" + strings.Join(rows, "\n")
}

// cell is text that does not end a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
