package oci

import (
	"strings"
	"testing"
)

// FuzzSplit holds that words are what a line has, and that a line without quotation marks is divided at its spaces.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"runc run -b {bundle} {id}", `a "b c" 'd"e' f''g`, `"`, "  ", `a'b c'd`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		total := 0
		for _, w := range words {
			total += len(w)
		}
		if total > 3*len(line) { // bytes that are no UTF-8 become three each
			t.Errorf("%q has become %q", line, words)
		}
		if err == nil && !strings.ContainsAny(line, "'\"\n\r\v\f\u0085\u00a0") && strings.ToValidUTF8(line, "") == line {
			if got, want := strings.Join(words, " "), strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' }), " "); got != want {
				t.Errorf("%q has become %q", line, got)
			}
		}
	})
}
