package report

import (
	"slices"
	"strings"
	"unicode"
)

// mostRunes is what is shown of one string. Guests write some of them.
const mostRunes = 4000

// clean gives a copy of r all of whose strings are fit to be shown: each in one line, without control characters and without what changes
// the direction of writing, and of bounded length. Figures are shared with r.
func (r *Report) clean() *Report {
	c := *r
	c.Command = cleanAll(r.Command)
	c.Host.Kernel, c.Host.CPU = clean(r.Host.Kernel), clean(r.Host.CPU)
	c.Missing, c.Notes = cleanAll(r.Missing), cleanAll(r.Notes)
	c.Subjects = slices.Clone(r.Subjects)
	for i := range c.Subjects {
		s := &c.Subjects[i]
		s.Title, s.Version = clean(s.Title), clean(s.Version)
		if s.Title == "" {
			s.Title = clean(s.ID)
		}
	}
	c.Claims = slices.Clone(r.Claims)
	for i := range c.Claims {
		c.Claims[i].clean()
	}
	return &c
}

func (c *Claim) clean() {
	c.Title, c.Finding, c.How, c.Limits = clean(c.Title), clean(c.Finding), clean(c.How), clean(c.Limits)
	c.Verdict = Verdict(clean(string(c.Verdict)))
	c.Rows, c.Checks = slices.Clone(c.Rows), slices.Clone(c.Checks)
	for i := range c.Rows {
		row := &c.Rows[i]
		row.Title = clean(row.Title)
		row.Cells = slices.Clone(row.Cells)
		for j := range row.Cells {
			cell := &row.Cells[j]
			cell.Text, cell.Missing = clean(cell.Text), clean(cell.Missing)
		}
	}
	for i := range c.Checks {
		c.Checks[i].Text = clean(c.Checks[i].Text)
	}
}

func cleanAll(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, clean(s))
	}
	return out
}

// clean makes one string fit to be shown.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > mostRunes {
			b.WriteRune('…')
			break
		}
		switch {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ReplacementChar)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
