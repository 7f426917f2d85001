package debian

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qemu")
	before := slices.Concat([]byte("before"), injection, []byte("after"))
	if err := os.WriteFile(path, before, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := mend(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// mov %r13d,error_code(%rbx) and movl $0,exception_is_int(%rbx) stay, with the store between them gone.
	want := slices.Clone(before)
	copy(want[len("before")+7:], "\x66\x0f\x1f\x44\x00\x00")
	if !bytes.Equal(got, want) {
		t.Errorf("% x", got)
	}
	if err := mend(path); err == nil {
		t.Error("mended twice")
	}
}

func TestMendUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qemu")
	for _, program := range [][]byte{nil, injection[1:], slices.Concat(injection, injection)} {
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := mend(path); err == nil {
			t.Errorf("% x: no error", program)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, program) {
			t.Errorf("% x became % x, %v", program, got, err)
		}
	}
}
