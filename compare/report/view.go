package report

import (
	"fmt"
	"slices"
)

// A grid is a claim's rows as text: what the table, the page and the Markdown have in common.
type grid struct {
	Columns []string // the subjects that have any cell
	Rows    []gridRow
	Notes   []string // why cells are missing; the first is [1]
}

// A gridRow has as many cells as the grid has columns.
type gridRow struct {
	Title string
	Cells []string
}

// nothing stands where nothing was looked at.
const nothing = "–"

// grid lays the claim's rows out. Columns are in the order of subjects.
func (c *Claim) grid(subjects []Subject) grid {
	var g grid
	var ids []string
	for _, s := range subjects {
		if slices.ContainsFunc(c.Rows, func(r Row) bool { _, ok := r.Cell(s.ID); return ok }) {
			ids = append(ids, s.ID)
			g.Columns = append(g.Columns, s.Title)
		}
	}
	for i := range c.Rows {
		row := &c.Rows[i]
		out := gridRow{Title: row.Title}
		for _, id := range ids {
			cell, _ := row.Cell(id)
			out.Cells = append(out.Cells, g.cell(row.Unit, cell))
		}
		g.Rows = append(g.Rows, out)
	}
	return g
}

// cell writes one, with a note of the grid if it is missing.
func (g *grid) cell(u Unit, c Cell) string {
	switch {
	case c.Figure != nil && c.Text != "":
		return u.figure(c.Figure) + ", " + c.Text
	case c.Figure != nil:
		return u.figure(c.Figure)
	case c.Text != "":
		return c.Text
	case c.Missing == "":
		return nothing
	}
	note := "not measured: " + c.Missing
	i := slices.Index(g.Notes, note)
	if i < 0 {
		i = len(g.Notes)
		g.Notes = append(g.Notes, note)
	}
	return fmt.Sprintf("%s[%d]", nothing+hold, i+1)
}

// mark is a verdict's sign, so that colour alone never tells it.
func (v Verdict) mark() string {
	switch v {
	case Holds:
		return "✓"
	case Partly:
		return "◐"
	case Fails:
		return "✗"
	}
	return "○"
}

// mark is a check's sign.
func (c Check) mark() string {
	if c.Holds {
		return "✓"
	}
	return "✗"
}

// line says what machine it was.
func (h Host) line() string {
	s := "Linux " + h.Kernel
	if h.CPU != "" {
		s += ", " + h.CPU
	}
	if h.CPUs > 0 {
		s += fmt.Sprintf(", %d CPU", h.CPUs)
		if h.CPUs > 1 {
			s += "s"
		}
	}
	if h.Memory > 0 {
		s += ", " + Bytes.Format(float64(h.Memory))
	}
	return s
}
