package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary a shell when a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("SH_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func shell(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SH_TEST_MAIN=1")
	cmd.Dir = t.TempDir()
	return cmd
}

func status(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

func TestScripts(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("echo $1-$2\nexit 4\necho late\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, stdin string
		args        []string
		want        string
		status      int
	}{
		{"command", "", []string{"-c", "echo hello-$((6*7)); false"}, "hello-42\n", 1},
		{"input", "for i in 1 2\ndo echo $i; done\n", nil, "1\n2\n", 0},
		{"file", "", []string{script, "-a", "b"}, "-a-b\n", 4},
		{"errexit", "", []string{"-c", "set -e; false; echo late"}, "", 1},
		{"not there", "", []string{"-c", "/no/such/program"}, "", 127},
		{"syntax", "", []string{"-c", "fi"}, "", 2},
		{"no file", "", []string{"/no/such/script"}, "", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := shell(t, test.args...)
			cmd.Stdin = strings.NewReader(test.stdin)
			out, err := cmd.Output()
			if string(out) != test.want || status(err) != test.status {
				t.Errorf("printed %q with status %d (%v), want %q with %d", out, status(err), err, test.want, test.status)
			}
		})
	}
}

// A console is a shell on a terminal, and the terminal's other end.
type console struct {
	*os.File
	t      *testing.T
	cmd    *exec.Cmd
	output []byte
}

func startConsole(t *testing.T, term string) *console {
	t.Helper()
	master, slave := openPTY(t)
	cmd := shell(t)
	cmd.Env = append(cmd.Env, "TERM="+term)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	return &console{File: master, t: t, cmd: cmd}
}

func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	var number uint32
	// Not with Fd, which would make it blocking, and a blocking read has no deadline.
	conn, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	controlErr := conn.Control(func(fd uintptr) {
		if number, err = unix.IoctlGetUint32(int(fd), unix.TIOCGPTN); err == nil {
			err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		}
	})
	if err := errors.Join(controlErr, err); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func (c *console) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads until s appears, and gives what came with it.
func (c *console) expect(s string) string {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		c.t.Fatal(err)
	}
	var buf [4096]byte
	for {
		if i := bytes.Index(c.output, []byte(s)); i >= 0 {
			end := i + len(s)
			seen := string(c.output[:end])
			c.output = c.output[end:]
			return seen
		}
		n, err := c.Read(buf[:])
		c.output = append(c.output, buf[:n]...)
		if err != nil {
			c.t.Fatalf("waiting for %q: %v after %q", s, err, c.output)
		}
	}
}

// exit waits for the shell's end and gives its status.
func (c *console) exit() int { return status(c.cmd.Wait()) }

func TestPlainConsole(t *testing.T) {
	c := startConsole(t, "dumb")
	c.expect("# ")
	c.send("echo hello-$((6*7))\n")
	if seen := c.expect("hello-42\r\n# "); strings.ContainsRune(seen, '\x1b') {
		t.Errorf("escape sequences in %q", seen)
	}
	c.send("if true\n")
	c.expect("\r\n> ")
	c.send("then echo multi-$((1+1))\nfi\n")
	c.expect("multi-2\r\n# ")
	c.send(")\n")
	c.expect("sh: 1:1: ")
	c.expect("# ")
	c.send("no-such-program; x=kept\n")
	c.expect("\r\n# ")
	c.send("cat; echo $x\nfor cat\n\x04")
	c.expect("for cat\r\n")
	c.expect("kept\r\n# ")
	c.send("exit 3\n")
	c.expect("exit 3\r\n")
	if got := c.exit(); got != 3 {
		t.Errorf("exit status is %d, want 3", got)
	}
}

// TestBackground holds that a program in the background outlives the line that started it.
func TestBackground(t *testing.T) {
	c := startConsole(t, "dumb")
	c.expect("# ")
	c.send("{ sleep 0.3; echo late-$((6*7)); } &\n")
	c.expect("# ")
	c.expect("late-42\r\n")
	c.send("exit\n")
	c.exit()
}

func TestEndOfInput(t *testing.T) {
	c := startConsole(t, "")
	c.expect("# ")
	c.send("false\n")
	c.expect("\r\n# ")
	c.send("\x04")
	if got := c.exit(); got != 1 {
		t.Errorf("exit status is %d, want that of the last command, 1", got)
	}
}

func TestInterrupt(t *testing.T) {
	for _, term := range []string{"dumb", "xterm"} {
		t.Run(term, func(t *testing.T) {
			c := startConsole(t, term)
			c.expect("# ")
			for _, command := range []string{"sleep 1000", "while true; do true; done", "while true; do sleep 1000; done"} {
				c.send("echo running-$((1+1)); " + command + "\r")
				c.expect("running-2\r\n")
				c.send("\x03")
				c.expect("# ")
			}
			c.send("echo still-$((1+1))\r")
			c.expect("still-2\r\n")
		})
	}
}

func TestEditor(t *testing.T) {
	c := startConsole(t, "xterm")
	c.expect("# ")
	c.send("mkdir -p directory/inner; echo made-$((1+1))\r")
	c.expect("made-2\r\n")
	c.expect("# ")
	c.send("echo dir\t\t | tr / .\r")
	c.expect("directory.inner.\r\n")
	c.expect("# ")
	c.send("echo first-$((2+2))\r")
	c.expect("first-4\r\n")
	c.expect("# ")
	c.send("\x1b[A\r") // the line before
	c.expect("first-4\r\n")
	c.expect("# ")
	c.send("echo given up\x03")
	c.expect("# ")
	c.send("echo next-$((2+3))\r")
	if seen := c.expect("next-5\r\n"); strings.Contains(seen, "\ngiven up") {
		t.Errorf("an interrupted line was run: %q", seen)
	}
	c.expect("# ")
	c.send("\x04")
	if got := c.exit(); got != 0 {
		t.Errorf("exit status is %d, want 0", got)
	}
}
