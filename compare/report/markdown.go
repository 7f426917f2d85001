package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var markdownText string

var markdownPage = template.Must(template.New("page").Funcs(template.FuncMap{
	"md":       escapeMarkdown,
	"join":     func(words []string) string { return strings.Join(words, " ") },
	"inc":      func(i int) int { return i + 1 },
	"date":     formatDate,
	"duration": formatDuration,
}).Parse(markdownText))

// A markdownClaim is what the page asks of a claim.
type markdownClaim struct {
	Claim
	Place    int
	Grid     grid
	Pictures []markdownPicture
}

type markdownPicture struct{ Title, File string }

// Mark is the verdict's sign.
func (c markdownClaim) Mark() string { return c.Verdict.mark() }

// VerdictText is the verdict as the page's functions take it.
func (c markdownClaim) VerdictText() string { return string(c.Verdict) }

// WriteMarkdown writes r as a page for GitHub, which shows the pictures that Plots gives: that of a name is looked for as pictures/NAME.svg,
// where pictures is a path relative to the page. It fails as w does, or if r cannot be drawn.
func (r *Report) WriteMarkdown(w io.Writer, pictures string) error {
	plots, err := r.Plots()
	if err != nil {
		return err
	}
	c := r.clean()
	page := struct {
		Report *Report
		Host   string
		Claims []markdownClaim
	}{c, c.Host.line(), nil}
	for i, claim := range c.Claims {
		m := markdownClaim{Claim: claim, Place: i + 1, Grid: claim.grid(c.Subjects)}
		for _, p := range plots {
			if p.claim == i {
				m.Pictures = append(m.Pictures, markdownPicture{p.Title, pictures + "/" + p.Name + ".svg"})
			}
		}
		page.Claims = append(page.Claims, m)
	}
	var b bytes.Buffer
	if err := markdownPage.Execute(&b, page); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

var (
	// markdownEscapes is for what has a meaning anywhere in a line. Names of people and addresses become links on GitHub by themselves.
	markdownEscapes = strings.NewReplacer(
		`&`, "&amp;", `<`, "&lt;", `>`, "&gt;", `@`, "&#64;", `://`, "&#58;//", "www.", "www&#46;", "WWW.", "WWW&#46;",
		`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `#`, `\#`, `|`, `\|`, `~`, `\~`, `!`, `\!`, `$`, `\$`,
	)
	// A line that begins so is an item of a list, a line across the page, or makes a heading of the one before.
	markdownStart = regexp.MustCompile(`^([0-9]*)([-+=.)])( |-|=|$)`)
)

// escapeMarkdown makes text of s, at the beginning of a line and in a table too. s is one line.
func escapeMarkdown(s string) string {
	return markdownStart.ReplaceAllString(markdownEscapes.Replace(s), `${1}\${2}${3}`)
}
