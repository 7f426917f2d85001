//go:build kvmtest || linuxtest

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestMain lets the test binary be the command, so that these tests see exactly what a
// user's shell sees and need no Go tool.
func TestMain(m *testing.M) {
	if os.Getenv("GOVMM_TEST_AS_COMMAND") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const guestTime = time.Minute // far beyond what any of these guests needs

// command is govmm with args.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), guestTime)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, self, args...)
	c.Env = append(os.Environ(), "GOVMM_TEST_AS_COMMAND=1")
	c.WaitDelay = time.Second
	return c
}

func exitStatus(t *testing.T, err error) int {
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
