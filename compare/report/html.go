package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed page.html.tmpl
var htmlText string

var htmlPage = template.Must(template.New("page").Funcs(template.FuncMap{
	"join":     func(words []string) string { return strings.Join(words, " ") },
	"inc":      func(i int) int { return i + 1 },
	"date":     formatDate,
	"duration": formatDuration,
}).Parse(htmlText))

// A htmlClaim is what the page asks of a claim.
type htmlClaim struct {
	Claim
	Place int // in the report: numbers may come twice
	Grid  grid
	Plots []template.HTML
}

// Class chooses the badge's colour.
func (c htmlClaim) Class() string {
	switch c.Verdict {
	case Holds:
		return "good"
	case Partly:
		return "part"
	case Fails:
		return "bad"
	}
	return "none"
}

// Mark is the badge's sign.
func (c htmlClaim) Mark() string { return c.Verdict.mark() }

// WriteHTML writes r as one page that needs nothing else: no script, no picture, no font. It fails as w does, or if r cannot be drawn
// or has a figure that JSON has no way to write.
func (r *Report) WriteHTML(w io.Writer) error {
	plots, err := r.Plots()
	if err != nil {
		return err
	}
	c := r.clean()
	var raw bytes.Buffer
	if err := r.WriteJSON(&raw); err != nil {
		return err
	}
	page := struct {
		Report *Report
		Host   string
		Claims []htmlClaim
		JSON   string
	}{c, c.Host.line(), nil, raw.String()}
	for i, claim := range c.Claims {
		h := htmlClaim{Claim: claim, Place: i + 1, Grid: claim.grid(c.Subjects)}
		for _, p := range plots {
			if p.claim == i {
				// It is ours: every text in it was escaped when it was drawn.
				h.Plots = append(h.Plots, template.HTML(p.SVG))
			}
		}
		page.Claims = append(page.Claims, h)
	}
	var b bytes.Buffer
	if err := htmlPage.Execute(&b, page); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

func formatDate(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// formatDuration tells how long the run took.
func formatDuration(seconds float64) string {
	if seconds < 120 {
		return Seconds.Format(seconds)
	}
	return fmt.Sprintf("%.0f min", seconds/60)
}
