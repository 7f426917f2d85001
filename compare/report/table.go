package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// TableOptions say how WriteTable writes.
type TableOptions struct {
	Width int  // characters of a line; 0 means 80. Fewer than 20 count as 20
	Color bool // with the ANSI sequences for colour
}

// WriteTable writes r for a terminal: each claim with what was found, then a summary. Nothing but the colours that o asks for controls the
// terminal, whatever is in r. It fails as w does.
func (r *Report) WriteTable(w io.Writer, o TableOptions) error {
	if o.Width <= 0 {
		o.Width = 80
	}
	t := tableWriter{r: r.clean(), width: max(o.Width, 20), color: o.Color}
	t.head()
	for i := range t.r.Claims {
		t.claim(&t.r.Claims[i])
	}
	t.summary()
	t.list("Missing here", t.r.Missing)
	t.list("What distorts these figures", t.r.Notes)
	_, err := w.Write(t.b.Bytes())
	return err
}

// A tableWriter collects the text.
type tableWriter struct {
	b     bytes.Buffer
	r     *Report
	width int
	color bool
}

// Colours, by their ANSI numbers.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours s, which has its width already.
func (t *tableWriter) paint(s, color string) string {
	if !t.color || color == plain || strings.TrimSpace(s) == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (v Verdict) color() string {
	switch v {
	case Holds:
		return green
	case Partly:
		return yellow
	case Fails:
		return red
	}
	return dim
}

// line writes one. A terminal breaks none, so that spaces can be plain.
func (t *tableWriter) line(s string) { t.b.WriteString(strings.ReplaceAll(s, hold, " ") + "\n") }

// indented writes wrapped text behind a lead, under which its further lines begin.
func (t *tableWriter) indented(lead, s, color string) {
	room := utf8.RuneCountInString(lead)
	for i, l := range wrap(s, t.width-room) {
		if i > 0 {
			lead = strings.Repeat(" ", room)
		}
		t.line(lead + t.paint(l, color))
	}
}

func (t *tableWriter) head() {
	if len(t.r.Command) > 0 {
		t.indented("command  ", strings.Join(t.r.Command, " "), bold)
	}
	t.indented("host     ", t.r.Host.line(), plain)
	for _, s := range t.r.Subjects {
		if s.Version != "" {
			t.indented("         ", s.Title+": "+s.Version, plain)
		}
	}
}

// claim writes "6  Title  — does not hold" and what is below.
func (t *tableWriter) claim(c *Claim) {
	t.line("")
	lead := fmt.Sprintf("%2d  ", c.Number)
	room := t.width - len(lead)
	lines, verdict := wrap(c.Title, room), shorten("— "+string(c.Verdict), room)
	last := lines[len(lines)-1]
	for i, l := range lines {
		lines[i] = t.paint(l, bold)
	}
	if utf8.RuneCountInString(last+"  "+verdict) <= room {
		lines[len(lines)-1] += "  " + t.paint(verdict, c.Verdict.color())
	} else {
		lines = append(lines, t.paint(verdict, c.Verdict.color()))
	}
	for i, l := range lines {
		if i > 0 {
			lead = strings.Repeat(" ", len(lead))
		}
		t.line(t.paint(lead, bold) + l)
	}
	if c.Finding != "" {
		t.indented("    ", c.Finding, plain)
	}
	g := c.grid(t.r.Subjects)
	if len(g.Rows) > 0 && len(g.Columns) > 0 {
		t.line("")
		t.grid(g)
	}
	for i, n := range g.Notes {
		t.indented(fmt.Sprintf("    [%d] ", i+1), n, dim)
	}
	if len(c.Checks) > 0 {
		t.line("")
	}
	for _, k := range c.Checks {
		t.check(k)
	}
}

func (t *tableWriter) check(k Check) {
	lines, color := wrap(k.Text, t.width-6), green
	if !k.Holds {
		color = red
	}
	for i, l := range lines {
		mark := t.paint(k.mark(), color)
		if i > 0 {
			mark = " "
		}
		t.line("    " + mark + " " + l)
	}
}

const (
	margin    = 4  // before the table
	gap       = 2  // between columns
	leastCell = 10 // narrower columns are unreadable
	mostLines = 6  // of one cell
)

// grid writes the table, or where there is no room for its columns, each row as a list.
func (t *tableWriter) grid(g grid) {
	rows := [][]string{append([]string{""}, g.Columns...)}
	for _, r := range g.Rows {
		rows = append(rows, append([]string{r.Title}, r.Cells...))
	}
	room := t.width - margin - gap*len(g.Columns)
	if room < leastCell*(len(g.Columns)+1) {
		t.stack(g)
		return
	}
	widths := fit(rows, room)
	for i, row := range rows {
		color := plain
		if i == 0 {
			color = bold
		}
		t.row(row, widths, color)
	}
}

// fit gives columns their natural widths, and takes from the widest until they fit.
func fit(rows [][]string, room int) []int {
	widths := make([]int, len(rows[0]))
	sum := 0
	for i := range widths {
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		// Wider columns than all the room make no difference.
		widths[i] = min(widths[i], room)
		sum += widths[i]
	}
	for ; sum > room; sum-- {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		widths[widest]--
	}
	return widths
}

// row writes the lines that its tallest cell has.
func (t *tableWriter) row(cells []string, widths []int, color string) {
	wrapped, height := make([][]string, len(cells)), 0
	for i, c := range cells {
		lines := wrap(c, widths[i])
		if len(lines) > mostLines {
			lines = lines[:mostLines]
			lines[mostLines-1] = shorten(lines[mostLines-1]+"……", widths[i])
		}
		wrapped[i], height = lines, max(height, len(lines))
	}
	for y := range height {
		line := ""
		for i, lines := range wrapped {
			s := ""
			if y < len(lines) {
				s = lines[y]
			}
			line += pad(s, widths[i]+gap)
		}
		line = strings.TrimRight(line, " ")
		t.line(strings.Repeat(" ", margin) + t.paint(line, color))
	}
}

// stack writes each row as its title and a line for each subject.
func (t *tableWriter) stack(g grid) {
	for _, r := range g.Rows {
		t.indented("    ", r.Title, plain)
		for i, c := range r.Cells {
			t.indented("      ", g.Columns[i]+": "+c, plain)
		}
	}
}

// summary has a line for each claim.
func (t *tableWriter) summary() {
	if len(t.r.Claims) == 0 {
		return
	}
	t.line("")
	t.line(t.paint("Summary", bold))
	longest := slices.MaxFunc(t.r.Claims, func(a, b Claim) int { return len(a.Verdict) - len(b.Verdict) })
	verdicts := min(utf8.RuneCountInString(string(longest.Verdict)), t.width/2)
	titles := 1
	for _, c := range t.r.Claims {
		titles = max(titles, utf8.RuneCountInString(c.Title))
	}
	titles = max(min(titles, t.width-verdicts-8), 1)
	for _, c := range t.r.Claims {
		verdict := t.paint(c.Verdict.mark()+" "+shorten(string(c.Verdict), verdicts), c.Verdict.color())
		t.line(fmt.Sprintf("%2d  %s  %s", c.Number, pad(shorten(c.Title, titles), titles), verdict))
	}
}

func (t *tableWriter) list(title string, items []string) {
	if len(items) == 0 {
		return
	}
	t.line("")
	t.indented("", title, bold)
	for _, s := range items {
		t.indented("  - ", s, plain)
	}
}
