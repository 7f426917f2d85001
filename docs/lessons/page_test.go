// Package lessons holds no code. Its tests read the lessons' pages, run the commands that stand in them, and compare what they print.
package lessons

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's directory, where readers type the commands.
const root = "../.."

// A page is a lesson's page, or the README.
type page struct {
	name     string
	lines    []string
	commands []command
}

// A command is one that a page shows behind "$ " in a block of the language console, with what it prints, standard output and errors together.
// In the output … stands for any characters of a line; in such a line two or more spaces stand for one or more. A line that is … alone stands for any number of lines.
type command struct {
	text  string
	want  []string
	first int  // the index in page.lines of the first line of want, where it would be if there is none
	fails bool // the block's info string is "console fails": the exit status is not 0
}

func pages(t *testing.T) []*page {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	var all []*page
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePage(name, string(data))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// parsePage finds the commands in a page.
func parsePage(name, text string) (*page, error) {
	p := &page{name: name, lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	for i := 0; i < len(p.lines); i++ {
		info, isFence := strings.CutPrefix(p.lines[i], "```")
		if !isFence {
			continue
		}
		end := i + 1
		for end < len(p.lines) && p.lines[end] != "```" {
			end++
		}
		if end == len(p.lines) {
			return nil, fmt.Errorf("%s:%d: the block does not end", name, i+1)
		}
		switch info {
		case "console", "console fails":
			if err := p.parseBlock(i+1, end, info != "console"); err != nil {
				return nil, err
			}
		case "":
			return nil, fmt.Errorf("%s:%d: the block does not say what it is; text is plain, console has commands", name, i+1)
		}
		i = end
	}
	return p, nil
}

func (p *page) parseBlock(first, end int, fails bool) error {
	for i := first; i < end; i++ {
		text, isCommand := strings.CutPrefix(p.lines[i], "$ ")
		if !isCommand {
			if i == first {
				return fmt.Errorf("%s:%d: a console block begins with a command", p.name, i+1)
			}
			c := &p.commands[len(p.commands)-1]
			c.want = append(c.want, p.lines[i])
			continue
		}
		for strings.HasSuffix(text, `\`) && i+1 < end {
			i++
			text += "\n" + p.lines[i]
		}
		p.commands = append(p.commands, command{text: text, first: i + 1, fails: fails})
	}
	return nil
}

// matches reports whether got is what a page shows as want. Where a line is not as it should be, the last … takes one line more; those before it
// need not be tried again.
func matches(want, got []string) bool {
	w, g := 0, 0
	gap, after := -1, 0 // the last … and the line of got behind what it takes
	for g < len(got) {
		switch {
		case w < len(want) && isGap(want[w]):
			gap, after = w, g
			w++
		case w < len(want) && matchesLine(want[w], got[g]):
			w, g = w+1, g+1
		case gap >= 0:
			after++
			w, g = gap+1, after
		default:
			return false
		}
	}
	return !slices.ContainsFunc(want[w:], func(line string) bool { return !isGap(line) })
}

// isGap reports whether a line of a page stands for any number of lines.
func isGap(line string) bool { return strings.TrimSpace(line) == "…" }

// firstMissing gives the first line of want that does not come in got where it should.
func firstMissing(want, got []string) string {
	for n := range want {
		if start := append(slices.Clone(want[:n+1]), "…"); !matches(start, got) {
			return want[n]
		}
	}
	return "(the end)"
}

var columns = regexp.MustCompile(`  +`)

func matchesLine(want, got string) bool {
	if !strings.Contains(want, "…") {
		return want == got
	}
	// Between the columns of a table are as many spaces as it takes.
	pattern := columns.ReplaceAllString(regexp.QuoteMeta(want), " +")
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, "…", ".*") + "$").MatchString(got)
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		ok        bool
	}{
		{"", "", true},
		{"a\nb", "a\nb", true},
		{"a\nb", "a", false},
		{"a", "a\nb", false},
		{"took … ms", "took 12 ms", true},
		{"took … ms", "took 12 s", false},
		{"a.c", "abc", false},
		{"a …     b", "a 1234567 b", true},
		{"a …     b", "a 1    b", true},
		{"a …     b", "a 1234567b", false},
		{"a  … ms  b", "a   1 ms     b", true},
		{"a  b", "a   b", false},
		{"a\n…\nb", "a\nb", true},
		{"a\n…\nb", "a\nx\ny\nb", true},
		{"a\n…\nb", "a\nx\ny", false},
		{"…", "", true},
	} {
		if ok := matches(lines(tt.want), lines(tt.got)); ok != tt.ok {
			t.Errorf("matches(%q, %q) = %v", tt.want, tt.got, ok)
		}
	}
	// What does not match is found out soon, however many lines there are.
	var many, long []string
	for range 12 {
		many = append(many, "…", "a")
	}
	for range 300 {
		long = append(long, "a")
	}
	if matches(append(many, "b"), long) || !matches(many, long) || firstMissing(append(many, "b", "c"), long) != "b" {
		t.Error("twelve gaps in 300 lines")
	}
	for got, missing := range map[string]string{"a\nx\nb": "c", "a\nx": "b", "a\nb\nc\nd": "(the end)"} {
		if line := firstMissing(lines("a\n…\nb\nc"), lines(got)); line != missing {
			t.Errorf("in %q the first missing line is %q, not %q", got, line, missing)
		}
	}
}

// lines are those of a command's output, without blanks at their ends, which editors take away in pages.
func lines(output string) []string {
	output = strings.ReplaceAll(output, "\r", "")
	if output = strings.TrimRight(output, "\n"); output == "" {
		return nil
	}
	all := strings.Split(output, "\n")
	for i := range all {
		all[i] = strings.TrimRight(all[i], " \t")
	}
	return all
}

func TestParsePage(t *testing.T) {
	p, err := parsePage("x.md", "text\n```console\n$ a \\\n  b\nout\n\n$ c\n```\n```go\n$ no\n```\n```console fails\n$ d\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []command{
		{text: "a \\\n  b", want: []string{"out", ""}, first: 4},
		{text: "c", first: 7},
		{text: "d", first: 13, fails: true},
	}
	if !reflect.DeepEqual(p.commands, want) {
		t.Errorf("got  %+v\nwant %+v", p.commands, want)
	}
	for _, bad := range []string{"```console\n$ a\n", "```console\nout\n```", "```\nx\n```"} {
		if _, err := parsePage("x.md", bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
