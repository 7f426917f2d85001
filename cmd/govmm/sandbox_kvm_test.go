//go:build kvmtest

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"syscall"
	"testing"
)

// startSpinning starts a guest that says something and computes from then on, with more files open.
func startSpinning(t *testing.T, files []*os.File, args ...string) (pid int, stop func()) {
	t.Helper()
	c := command(t, append(append([]string{"boot"}, args...), writeGuest(t, guestSpin))...)
	c.ExtraFiles = files
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return c.Process.Pid, func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if status := exitStatus(t, c.Wait()); status != 128+int(syscall.SIGTERM) || stderr.String() != "govmm: ended by terminated\n" {
			t.Errorf("exit status %d, standard error %q", status, stderr.String())
		}
	}
}

// TestStrayDescriptors holds that the monitor closes what its caller has left open.
func TestStrayDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, stop := startSpinning(t, []*os.File{w})
	defer stop()
	w.Close()
	// While the guest runs: otherwise the read would wait for it.
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

// TestSandboxFlag looks at the monitor of a guest that runs.
func TestSandboxFlag(t *testing.T) {
	for flag, pattern := range map[string]string{
		"--sandbox=on":     `\nNoNewPrivs:\t1\nSeccomp:\t2\n`,
		"--sandbox=strict": `\nNoNewPrivs:\t1\nSeccomp:\t2\n`,
		"--sandbox=off":    `\nNoNewPrivs:\t0\nSeccomp:\t0\n`,
	} {
		pid, stop := startSpinning(t, nil, flag)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !regexp.MustCompile(pattern).Match(status) {
			t.Errorf("%s: %v, %s", flag, err, status)
		}
		stop()
	}
}

// TestSandboxWithoutLandlock is a host that lacks a part: it is said, in one line, and strict refuses to start.
func TestSandboxWithoutLandlock(t *testing.T) {
	for flag, want := range map[string]int{"--sandbox=on": 0, "--sandbox=strict": 1, "--sandbox=off": 0} {
		c := command(t, "boot", flag, writeGuest(t, guestPowerOff))
		c.Env = append(c.Env, envArrange+"="+string(noLandlock))
		r := finish(t, c)
		if r.status != want {
			t.Errorf("%s: %v", flag, r)
		}
		if flag == "--sandbox=off" {
			if r.stderr != "" {
				t.Errorf("%s: %v", flag, r)
			}
			continue
		}
		checkOneLine(t, r.stderr, "no landlock (not in this kernel); a host kernel of Linux 5.13 or later")
	}
	c := command(t, "check")
	c.Env = append(c.Env, envArrange+"="+string(noLandlock))
	if r := finish(t, c); !regexp.MustCompile(`(?m)^sandbox: landlock +absent +not in this kernel$`).MatchString(r.stdout) {
		t.Errorf("check: %v", r)
	}
}
