package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	f, err := open(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out strings.Builder
	const blocks = 3
	for n := int64(1); n <= 5; n++ {
		f.report(&out, n, blocks)
	}
	if !strings.HasSuffix(out.String(), "stable 5 "+f.Name()+"\n") || strings.Count(out.String(), "stable ") != 5 {
		t.Errorf("it said %q", out.String())
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := bytes.Join([][]byte{block(3), block(4), block(5)}, nil); !bytes.Equal(got, want) {
		t.Errorf("the file has %d bytes, want blocks 3, 4 and 5", len(got))
	}
	if b := block(4); !bytes.HasPrefix(b, []byte("govmm pattern 4\n")) || b[4095] != 255+4-256 {
		t.Errorf("block 4 is %.20q and ends in %d", b, b[4095])
	}
}

// TestFailure tells of a write that fails, and goes on.
func TestFailure(t *testing.T) {
	f, err := open("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out strings.Builder
	f.report(&out, 2, 10)
	if got := out.String(); !strings.HasPrefix(got, "failed 2 /dev/full: ") || strings.Contains(got, "stable") {
		t.Errorf("it said %q", got)
	}
}
