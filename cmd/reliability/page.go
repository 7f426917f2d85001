package main

import (
	"bytes"
	_ "embed"
	"fmt"
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
		"fig": p.value, "date": p.date, "passed": p.passed, "rest": p.rest,
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

// rest gives the rows of the table of all figures that the page has not shown: key, value, test and date.
func (p *page) rest() string {
	var rows []string
	for key, f := range p.all {
		if !p.used[key] {
			rows = append(rows, fmt.Sprintf("| %s | %s | `%s` | %s |", cell(key), cell(f.Value), cell(f.Test), f.Date))
		}
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

// cell is text that does not end a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
