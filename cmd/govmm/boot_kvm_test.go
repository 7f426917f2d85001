//go:build kvmtest

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		name   string
		code   []byte
		args   []string
		want   int
		stderr string
	}{
		{"power-off", guestPowerOff, nil, 0, ""},
		{"reset register", guestReset, nil, 0, ""},
		{"i8042 reset", guestResetI8042, nil, 0, ""},
		{"debug exit", guestDebugExit, []string{"--debug-exit"}, 0x21, ""},
		{"triple fault", guestTripleFault, nil, 2, "triple fault"},
		{"two CPUs", guestPowerOff, []string{"-c", "2"}, 0, ""},
		{"6 GiB", guestPowerOff, []string{"-m", "6G"}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			c := command(t, append(append([]string{"boot"}, tt.args...), writeGuest(t, tt.code))...)
			c.Stderr = &stderr
			if got := exitStatus(t, c.Run()); got != tt.want {
				t.Errorf("exit status %d, want %d; %s", got, tt.want, stderr.String())
			}
			if tt.stderr != "" {
				checkOneLine(t, stderr.String(), tt.stderr)
			} else if stderr.Len() > 0 {
				t.Errorf("standard error: %s", stderr.String())
			}
		})
	}
}

// TestCrashMessage holds that the message says where and what.
func TestCrashMessage(t *testing.T) {
	var stderr bytes.Buffer
	c := command(t, "boot", writeGuest(t, guestTripleFault))
	c.Stderr = &stderr
	c.Run()
	for _, want := range []string{"vCPU 0", "RIP 0x", "triple fault"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q lacks %q", stderr.String(), want)
		}
	}
}

func TestSignals(t *testing.T) {
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		t.Run(sig.String(), func(t *testing.T) {
			c := command(t, "boot", "-c", "2", writeGuest(t, guestSpin))
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
				t.Fatalf("the guest said nothing: %v", err)
			}
			c.Process.Signal(sig)
			if got := exitStatus(t, c.Wait()); got != want {
				t.Errorf("exit status %d, want %d", got, want)
			}
		})
	}
}

// TestPipedBytes holds that every byte value passes both ways through pipes, that input
// sent before the guest listens is kept, and that nothing of a long input is lost.
func TestPipedBytes(t *testing.T) {
	in := make([]byte, 0, 20_002)
	for i := range 20_000 {
		b := byte(i)
		if b == 0 && i > 0 && in[i-1] == 0 {
			b = 1
		}
		in = append(in, b)
	}
	in = append(in, 0, 0)
	c := command(t, "boot", writeGuest(t, guestEcho))
	c.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if want := append([]byte("!"), in...); !bytes.Equal(out, want) {
		t.Errorf("%d bytes came back of %d, or others", len(out), len(want))
	}
}

// TestInputEnds holds that the end of standard input does not end the guest.
func TestInputEnds(t *testing.T) {
	c := command(t, "boot", writeGuest(t, guestSpin))
	out, err := c.StdoutPipe() // standard input is /dev/null
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatalf("the guest said nothing: %v", err)
	}
	c.Process.Signal(syscall.SIGTERM)
	if got := exitStatus(t, c.Wait()); got != 143 {
		t.Errorf("exit status %d, want that of the signal", got)
	}
}

// TestTerminal sits at a terminal: it is raw while the guest runs, keys reach the guest
// unchanged, and however the run ends the terminal is as before.
func TestTerminal(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
		end  func(c *exec.Cmd, person *os.File)
		want int
	}{
		{"Ctrl-A X", guestSpin, func(_ *exec.Cmd, p *os.File) { p.WriteString("abc\x01x") }, 0},
		{"SIGTERM", guestSpin, func(c *exec.Cmd, _ *os.File) { c.Process.Signal(syscall.SIGTERM) }, 143},
		{"power-off", guestEcho, func(_ *exec.Cmd, p *os.File) { p.WriteString("\x03\x00\x00") }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			person, program := openPTY(t)
			before := termios(t, program)
			c := command(t, "boot", writeGuest(t, tt.code))
			c.Stdin, c.Stdout, c.Stderr = program, program, program
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(person, make([]byte, 1)); err != nil {
				t.Fatalf("the guest said nothing: %v", err)
			}
			if termios(t, program).Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
				t.Error("the terminal is not raw")
			}
			tt.end(c, person)
			if got := exitStatus(t, c.Wait()); got != tt.want {
				t.Errorf("exit status %d, want %d", got, tt.want)
			}
			if after := termios(t, program); after != before {
				t.Errorf("the terminal was %+v and is %+v", before, after)
			}
		})
	}
}

// TestTerminalAfterKill holds that even SIGKILL, of the whole process group, leaves a usable terminal.
func TestTerminalAfterKill(t *testing.T) {
	person, program := openPTY(t)
	before := termios(t, program)
	c := command(t, "boot", writeGuest(t, guestSpin))
	c.Stdin, c.Stdout = program, program
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(person, make([]byte, 1)); err != nil {
		t.Fatalf("the guest said nothing: %v", err)
	}
	if termios(t, program) == before {
		t.Fatal("the terminal is not raw")
	}
	syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	c.Wait()
	for range 1000 {
		if termios(t, program) == before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the terminal stayed raw")
}

// TestTerminalHelp asks for the escapes and sends a Ctrl-A.
func TestTerminalHelp(t *testing.T) {
	person, program := openPTY(t)
	c := command(t, "boot", writeGuest(t, guestEcho))
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	person.WriteString("\x01h\x01az\x00\x00")
	out, _ := io.ReadAll(person) // ends with EIO when the program has gone
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if s := string(out); !strings.Contains(s, "Ctrl-A X  end the guest\r\n") || !strings.Contains(s, "\x01z") {
		t.Errorf("the terminal shows %q", s)
	}
}

// TestReaderGone holds that a closed standard output ends the run with an error.
func TestReaderGone(t *testing.T) {
	c := command(t, "boot", writeGuest(t, guestEcho))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = w, &stderr
	err = c.Run()
	w.Close()
	if got := exitStatus(t, err); got != 1 {
		t.Errorf("exit status %d, want 1", got)
	}
	checkOneLine(t, stderr.String(), "broken pipe")
}
