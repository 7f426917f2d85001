package report

import (
	"strings"
	"unicode/utf8"
)

// wrap breaks s into lines of at most width characters, at spaces where it can. There is at least one line.
func wrap(s string, width int) []string {
	width = max(width, 1)
	var lines []string
	line, size := "", 0
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }) {
		n := utf8.RuneCountInString(word)
		if size > 0 && size+1+n <= width {
			line, size = line+" "+word, size+1+n
			continue
		}
		if size > 0 {
			lines = append(lines, line)
		}
		for n > width {
			var head string
			head, word = cut(word, width)
			lines, n = append(lines, head), n-width
		}
		line, size = word, n
	}
	if size > 0 || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// cut divides s after its first n characters.
func cut(s string, n int) (head, rest string) {
	for i := range s {
		if n == 0 {
			return s[:i], s[i:]
		}
		n--
	}
	return s, ""
}

// shorten cuts s to width characters, the last of which says so.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	head, _ := cut(s, max(width-1, 0))
	return strings.TrimSpace(head) + "…"
}

// pad fills s up with spaces.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
