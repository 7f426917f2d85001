//go:build linuxtest

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A session is govmm at a terminal, and the person who sits there.
type session struct {
	t       *testing.T
	cmd     *exec.Cmd
	person  *os.File
	program *os.File
	before  unix.Termios
	shown   *screen
	stderr  bytes.Buffer
	typed   int // commands so far
}

// startSession starts govmm boot with args and waits for the guest's shell.
func startSession(t *testing.T, args ...string) *session {
	t.Helper()
	return startSessionWith(t, nil, args...)
}

// startSessionWith does it with files open in govmm, as descriptors from 3 on.
func startSessionWith(t *testing.T, files []*os.File, args ...string) *session {
	t.Helper()
	s := &session{t: t, cmd: command(t, append([]string{"boot"}, args...)...)}
	s.cmd.ExtraFiles = files
	s.begin()
	s.await(prompt)
	return s
}

// begin starts the command on a terminal of its own.
func (s *session) begin() {
	t := s.t
	t.Helper()
	s.person, s.program = openPTY(t)
	s.before = termios(t, s.program)
	s.shown = showScreen(s.person)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.program, s.program, &s.stderr
	// As a shell has it: a session with the terminal as the controlling one.
	if s.cmd.SysProcAttr == nil {
		s.cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	s.cmd.SysProcAttr.Setsid, s.cmd.SysProcAttr.Setctty = true, true
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.abandon(syscall.SIGTERM) })
}

var prompt = regexp.MustCompile(`(?:^|\n)# `)

// await gives what the terminal shows from where the last one ended to the end of the match.
func (s *session) await(want *regexp.Regexp) string {
	s.t.Helper()
	text, ok := s.shown.await(want)
	if !ok {
		// A monitor that still runs shows its goroutines.
		s.abandon(syscall.SIGABRT)
		s.fatalf("the terminal does not show %q", want)
	}
	return text
}

// fatalf ends the test with all there is to say about the guest.
func (s *session) fatalf(format string, args ...any) {
	s.t.Helper()
	s.abandon(syscall.SIGTERM)
	s.t.Fatalf("%s\nstandard error: %s\nthe console's end:%s", fmt.Sprintf(format, args...), s.stderr.String(), tail(s.shown.all()))
}

// abandon ends a monitor that still runs.
func (s *session) abandon(sig syscall.Signal) {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(sig)
		_ = s.cmd.Wait()
	}
}

// run types a command for the guest's shell and gives what it prints.
func (s *session) run(line string) string {
	s.t.Helper()
	out, status := s.try(line)
	if status != "0" {
		s.fatalf("in the guest, %q ended with status %s", line, status)
	}
	return out
}

// try is run for a command that may fail.
func (s *session) try(line string) (out, status string) {
	s.t.Helper()
	// The number is computed in the guest, so that the echo of what is typed does not look like the end.
	s.typed++
	s.typeLine(fmt.Sprintf("%s; echo end-$?-$((%d+0))", line, s.typed))
	// With the next prompt, or what is typed next would stand before it.
	end := regexp.MustCompile(fmt.Sprintf(`end-(\d+)-%d\r?\n# `, s.typed))
	out = s.await(end)
	_, out, _ = strings.Cut(out, "\n") // what was typed
	status = end.FindStringSubmatch(out)[1]
	return strings.TrimSpace(strings.ReplaceAll(end.ReplaceAllString(out, ""), "\r", "")), status
}

func (s *session) typeLine(line string) {
	s.t.Helper()
	if _, err := s.person.WriteString(line + "\r"); err != nil {
		s.fatalf("%v", err)
	}
}

// end waits for govmm's end and gives its exit status. The terminal must be as before.
func (s *session) end() int {
	s.t.Helper()
	status := exitStatus(s.t, s.cmd.Wait())
	if after := termios(s.t, s.program); after != s.before {
		s.t.Errorf("the terminal was %+v and is %+v", s.before, after)
	}
	return status
}

// powerOff has the guest power itself off, which must end govmm with status 0 and without a word.
func (s *session) powerOff() {
	s.t.Helper()
	s.typeLine("poweroff")
	if status := s.end(); status != 0 || s.stderr.Len() > 0 {
		s.t.Errorf("power-off: exit status %d, standard error %q", status, s.stderr.String())
	}
}

// A screen keeps what a terminal shows.
type screen struct {
	mu    sync.Mutex
	text  []byte
	read  int // how far await has come
	ended bool
	more  *sync.Cond
}

// showScreen starts a screen, which ends with the terminal, or what else it shows.
func showScreen(terminal io.Reader) *screen {
	s := new(screen)
	s.more = sync.NewCond(&s.mu)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := terminal.Read(buf)
			s.add(buf[:n], err != nil)
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *screen) add(p []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	s.ended = s.ended || end
	s.more.Broadcast()
}

// await waits up to patience for text that matches want and was not awaited before.
func (s *screen) await(want *regexp.Regexp) (text string, ok bool) {
	deadline := time.Now().Add(patience)
	wake := time.AfterFunc(patience, s.more.Broadcast)
	defer wake.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if at := want.FindIndex(s.text[s.read:]); at != nil {
			text = string(s.text[s.read:][:at[1]])
			s.read += at[1]
			return text, true
		}
		if s.ended || time.Now().After(deadline) {
			return "", false
		}
		s.more.Wait()
	}
}

// patience is less than runTime, so that a test says what it waited for.
const patience = runTime * 3 / 4

// over tells whether there will be no more.
func (s *screen) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}
