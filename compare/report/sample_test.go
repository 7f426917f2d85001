package report

import (
	"os"
	"testing"
)

// sample reads the report of invented numbers.
func sample(t testing.TB) *Report {
	t.Helper()
	f, err := os.Open("testdata/sample.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
