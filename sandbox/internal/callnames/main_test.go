package main

import (
	"bytes"
	"os"
	"testing"
)

// TestCurrent holds that the table is of the version of golang.org/x/sys that is used.
func TestCurrent(t *testing.T) {
	want, err := table()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../callnames_amd64.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("go generate ./sandbox makes another table")
	}
}
