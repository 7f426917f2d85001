//go:build kvmtest

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMessagesUnread ends a run when nobody reads its monitor's messages any more.
func TestMessagesUnread(t *testing.T) {
	for name, args := range map[string][]string{"errors": nil, "log": {"-v"}} {
		t.Run(name, func(t *testing.T) {
			c := command(t, append(append([]string{"boot"}, args...), writeGuest(t, guestSpin))...)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			c.Stderr = w
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
				t.Fatalf("the guest said nothing: %v", err)
			}
			fillPipe(t, w)
			c.Process.Signal(syscall.SIGTERM)
			if got := exitStatus(t, c.Wait()); got != 143 {
				t.Errorf("exit status %d, want that of the signal", got)
			}
		})
	}
}

// TestBackground starts a guest at a terminal in whose foreground there is another job, as timeout(1) does: it runs without input, leaves the terminal alone,
// and can be ended.
func TestBackground(t *testing.T) {
	person, program := openPTY(t)
	before := termios(t, program)
	guest := command(t, "boot", writeGuest(t, guestSpin))
	// The shell leads the terminal's session, and gives its job, with -m, a process group of its own.
	c := exec.Command("sh", append([]string{"-c", `set -m; "$0" "$@" & echo "[$!]"; wait $!; echo "status $?"`}, guest.Args...)...)
	c.Env = guest.Env
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	started := readUntil(t, person, "]")
	seen := readUntil(t, person, "!")
	if termios(t, program) != before {
		t.Error("a job in the background has set the terminal")
	}
	if !strings.Contains(seen, "timeout needs --foreground") {
		t.Errorf("nobody is told: %q", seen)
	}
	person.WriteString("abc")
	time.Sleep(100 * time.Millisecond) // in which a reader would be stopped
	_, number, _ := strings.Cut(strings.TrimSuffix(started, "]"), "[")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	readUntil(t, person, "status 143")
	c.Wait()
}

// readUntil reads what the terminal shows until it has shown text.
func readUntil(t *testing.T, person *os.File, text string) string {
	t.Helper()
	var seen bytes.Buffer
	p := make([]byte, 1)
	for !strings.Contains(seen.String(), text) {
		if _, err := io.ReadFull(person, p); err != nil {
			t.Fatalf("%v; the terminal shows %q, want %q", err, seen.String(), text)
		}
		seen.Write(p)
	}
	return seen.String()
}
