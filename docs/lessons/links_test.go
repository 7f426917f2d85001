package lessons

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write into the pages what is so now")

// A link to a line of code names what stands there: [`dispatch`](../../machine/vcpu.go#L83) leads to a line with the word dispatch.
var codeLink = regexp.MustCompile("\\[`([^`\\]]+)`\\]\\(([^)#]+\\.(?:go|s|c|sh))#L([0-9]+)\\)")

// Any link to a file of the repository.
var fileLink = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// How long a program is, behind a link to it: [examples/02-exits](../../examples/02-exits/main.go), 94 lines
var lengthOf = regexp.MustCompile(`\]\(([^)#]+\.go)\), ([0-9]+) lines`)

// TestLengths counts the lines of programs. With -update it puts right the pages' numbers.
func TestLengths(t *testing.T) {
	for _, p := range pages(t) {
		text := strings.Join(p.lines, "\n") + "\n"
		changed := lengthOf.ReplaceAllStringFunc(text, func(said string) string {
			m := lengthOf.FindStringSubmatch(said)
			data, err := os.ReadFile(m[1])
			if err != nil {
				t.Error(err)
				return said
			}
			n := strings.Count(string(data), "\n")
			if fmt.Sprint(n) != m[2] && !*update {
				t.Errorf("%s: %s has %d lines, not %s (go test ./docs/lessons -run TestLengths -update)", p.name, m[1], n, m[2])
			}
			return fmt.Sprintf("](%s), %d lines", m[1], n)
		})
		if *update && changed != text {
			if err := os.WriteFile(p.name, []byte(changed), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestLinks follows the links to files and to lines of code. With -update it puts right the numbers of lines that have moved.
func TestLinks(t *testing.T) {
	for _, p := range pages(t) {
		text := strings.Join(p.lines, "\n") + "\n"
		for _, m := range fileLink.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: a link leads to %s, which is not there", p.name, m[1])
			}
		}
		changed := codeLink.ReplaceAllStringFunc(text, func(link string) string {
			m := codeLink.FindStringSubmatch(link)
			line, err := findLine(m[2], m[1], m[3])
			if err != nil {
				t.Errorf("%s: %s: %v", p.name, link, err)
				return link
			}
			return fmt.Sprintf("[`%s`](%s#L%d)", m[1], m[2], line)
		})
		if *update && changed != text {
			if err := os.WriteFile(p.name, []byte(changed), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

// Something that the reader is to have made: `make kernel`.
var makeTarget = regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+(?: [a-z-]+)*)(?:`|$| +#)")

// TestTargets holds that the Makefile has what pages tell the reader to make.
func TestTargets(t *testing.T) {
	makefile, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		for _, m := range makeTarget.FindAllStringSubmatch(strings.Join(p.lines, "\n"), -1) {
			for target := range strings.FieldsSeq(m[1]) {
				if !strings.Contains(string(makefile), "\n"+target+":") {
					t.Errorf("%s: make %s: the Makefile has no %s", p.name, m[1], target)
				}
			}
		}
	}
}

// findLine gives the number of the line of file that has word, which is to be the given one; with -update it is the nearest one instead.
func findLine(file, word, number string) (int, error) {
	data, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, err
	}
	all := strings.Split(string(data), "\n")
	isWord := regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(word) + `(\W|$)`)
	if n <= len(all) && isWord.MatchString(all[n-1]) {
		return n, nil
	}
	// It has moved. Where it is declared comes first, or else a word as frequent as "try" would lead to a comment.
	best := nearest(all, n, regexp.MustCompile(`^(func |func \(.*\) |type )`+regexp.QuoteMeta(word)+`(\W.*)?$`))
	if best == 0 {
		best = nearest(all, n, isWord)
	}
	switch {
	case best == 0:
		return 0, fmt.Errorf("no line has the word %s", word)
	case !*update:
		return 0, fmt.Errorf("line %d has no word %s; the nearest is line %d (go test ./docs/lessons -run TestLinks -update)", n, word, best)
	}
	return best, nil
}

// nearest gives the number of the matching line nearest to line n, 0 if there is none.
func nearest(all []string, n int, match *regexp.Regexp) int {
	best := 0
	for i, line := range all {
		if match.MatchString(line) && (best == 0 || abs(i+1-n) < abs(best-n)) {
			best = i + 1
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }
