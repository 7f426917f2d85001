package guest

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"govmm/cmd/nested/wire"
)

func TestRefuse(t *testing.T) {
	for _, test := range []struct {
		err  error
		want uint8
	}{
		{&exec.Error{Name: "cmd", Err: exec.ErrNotFound}, statusNotFound},
		{&fs.PathError{Op: "fork/exec", Path: "cmd", Err: syscall.ENOENT}, statusNotFound},
		{&exec.Error{Name: "cmd", Err: fs.ErrPermission}, statusNotExecutable},
		{&fs.PathError{Op: "fork/exec", Path: "cmd", Err: syscall.ENOEXEC}, statusNotExecutable},
	} {
		var out bytes.Buffer
		s := &session{out: wire.NewWriter(&out)}
		status, err := s.refuse(wire.Job{Args: []string{"cmd"}}, test.err)
		if status != test.want || err != nil {
			t.Errorf("%v: status %d, %v; want %d", test.err, status, err, test.want)
		}
		kind, text, err := wire.NewReader(&out).ReadFrame()
		if kind != wire.Stderr || err != nil || strings.Count(string(text), "cmd") != 1 {
			t.Errorf("%v: frame of kind %d, %q, %v", test.err, kind, text, err)
		}
	}
}

func TestCopyInput(t *testing.T) {
	f, err := openFiles(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.closeCommand()
	var in bytes.Buffer
	w := wire.NewWriter(&in)
	for _, part := range []string{"some ", "words", ""} {
		if err := w.WriteFrame(wire.Stdin, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	s := &session{input: wire.NewReader(&in)}
	s.copyInput(f)
	got, err := io.ReadAll(f.command[0])
	if string(got) != "some words" || err != nil {
		t.Errorf("the command reads %q, %v", got, err)
	}
}

func TestReap(t *testing.T) {
	for script, want := range map[string]uint8{"exit 0": 0, "exit 255": 255, "kill -TERM $$": 143} {
		// An orphan's end before the command's must not be taken for it.
		other, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		proc, err := os.StartProcess("/bin/sh", []string{"sh", "-c", script}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		if got := reap(proc.Pid); got != want {
			t.Errorf("%s: status %d, want %d", script, got, want)
		}
		_, _ = other.Wait() // whether reaped already or not
	}
}

func TestIsInit(t *testing.T) {
	if IsInit() {
		t.Error("a test is taken for init")
	}
}
