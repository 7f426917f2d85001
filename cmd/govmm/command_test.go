package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/agent/guest"
	"govmm/kvm"
)

// Variables of the environment that have the test binary be the command.
const (
	envAsCommand = "GOVMM_TEST_AS_COMMAND"
	envArrange   = "GOVMM_TEST_ARRANGE" // an arrangement
)

// TestMain lets the test binary be the command, so that these tests see exactly what a
// user's shell sees and need no Go tool.
func TestMain(m *testing.M) {
	if guest.IsInit() {
		main() // this program is govmm, and so the init of govmm run's guests
	}
	if os.Getenv(envAsCommand) == "" {
		os.Exit(runTests(m))
	}
	if err := arrange(arrangement(os.Getenv(envArrange))); err != nil {
		panic(err)
	}
	main()
}

// runTests runs the tests with a cache of their own.
func runTests(m *testing.M) int {
	cache, err := os.MkdirTemp("", "govmm-test-cache-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(cache)
	os.Setenv("XDG_CACHE_HOME", cache)
	return m.Run()
}

// An arrangement is what a process does to its own surroundings before it becomes the command.
type arrangement string

const (
	asNobody     arrangement = "nobody"            // give up root
	noKVM        arrangement = "no KVM"            // hide /dev/kvm; the process has a mount namespace of its own
	falseKVM     arrangement = "false KVM"         // put another device in its place; same
	oldKVM       arrangement = "old KVM"           // have KVM deny that it has KVM_CAP_IRQFD
	noLandlock   arrangement = "no Landlock"       // have the kernel deny that it has Landlock
	noSeccomp    arrangement = "no seccomp"        // have the kernel deny that it has seccomp filters
	noChroot     arrangement = "no chroot"         // forbid chroot, as some containers do
	noCapability arrangement = "no CAP_SYS_CHROOT" // be root without that capability
	noUnshare    arrangement = "no unshare"        // forbid namespaces, as most containers do
	noProc       arrangement = "no /proc"          // hide /proc; the process has a mount namespace of its own
)

func arrange(a arrangement) error {
	switch a {
	case asNobody:
		const nobody = 65534
		if os.Getuid() == nobody {
			return nil // a helper of the command's
		}
		return errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody))
	case noKVM:
		return unix.Mount("none", "/dev", "tmpfs", 0, "")
	case oldKVM:
		return denyCap(kvm.CapIRQFD)
	case noLandlock:
		return denyLandlock()
	case noSeccomp:
		return denySeccomp()
	case noChroot:
		return denyChroot()
	case noCapability:
		return startAgain(func() error { return unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_CHROOT, 0, 0, 0) })
	case noUnshare:
		return startAgain(denyNamespaces) // what it forbids is what this process has done already
	case noProc:
		return unix.Mount("none", "/proc", "tmpfs", 0, "")
	case falseKVM:
		return unix.Mount("/dev/null", "/dev/kvm", "", unix.MS_BIND, "")
	}
	return nil
}

// startAgain has the process begin once more, after a change that it keeps.
func startAgain(change func() error) error {
	runtime.LockOSThread()
	os.Unsetenv(envArrange)
	if err := change(); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// arranged is command for a process that makes an arrangement first.
func arranged(t testing.TB, a arrangement, args ...string) *exec.Cmd {
	t.Helper()
	c := command(t, args...)
	c.Env = append(c.Env, envArrange+"="+string(a))
	switch a {
	case noKVM, falseKVM, noProc:
		c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	return c
}

// runTime is far beyond what any guest of these tests needs: it is for those that hang.
const runTime = 4 * time.Minute

// command is govmm with args. After runTime it is made to show its goroutines and die.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	return commandWithin(t, runTime, args...)
}

// commandWithin is command with another limit.
func commandWithin(t testing.TB, limit time.Duration, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, self, args...)
	c.Env = append(os.Environ(), envAsCommand+"=1")
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGABRT) }
	c.WaitDelay = 10 * time.Second
	return c
}

func exitStatus(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// result is what a run of the command left.
type result struct {
	status         int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit status %d\nstandard error: %s\nstandard output ends in: %s", r.status, r.stderr, tail(r.stdout))
}

// finish runs c to its end.
func finish(t testing.TB, c *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if err != nil && t.Context().Err() == nil && c.ProcessState != nil && !c.ProcessState.Exited() {
		t.Fatalf("%v\nstandard error: %s\nstandard output ends in: %s", err, stderr.String(), tail(stdout.String()))
	}
	return result{exitStatus(t, err), stdout.String(), stderr.String()}
}

// checkOneLine holds that an error is a line of ours and no stack trace.
func checkOneLine(t *testing.T, stderr, want string) {
	t.Helper()
	s := strings.TrimSuffix(stderr, "\n")
	if !strings.HasPrefix(s, "govmm: ") || strings.Contains(s, "\n") || !strings.Contains(s, want) {
		t.Errorf("standard error is %q, want one line with %q", stderr, want)
	}
}

// tail is the last lines of a console, for messages.
func tail(console string) string {
	const lines = 30
	s := strings.Split(strings.TrimSpace(strings.ReplaceAll(console, "\r", "")), "\n")
	return "\n\t" + strings.Join(s[max(0, len(s)-lines):], "\n\t")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
