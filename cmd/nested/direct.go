package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// virtualization returns why this host cannot run the command by itself, or nil.
func virtualization() error {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	if !hasVirtualization(string(info)) {
		return errors.New("the processor shows neither vmx nor svm")
	}
	f, err := os.OpenFile(kvmPath, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

const kvmPath = "/dev/kvm"

// hasVirtualization tells from /proc/cpuinfo whether the processor has VT-x or
// AMD-V. A /dev/kvm says little: there are ones of software.
func hasVirtualization(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		if key, flags, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "flags" {
			fields := strings.Fields(flags)
			return slices.Contains(fields, "vmx") || slices.Contains(fields, "svm")
		}
	}
	return false
}

// runDirect runs the command on this host. Unless there is a time limit, the
// command takes this process's place.
func runDirect(ctx context.Context, o *options) (int, error) {
	if err := os.Chdir(o.dir); err != nil {
		return statusFailure, err
	}
	path, err := exec.LookPath(o.command[0])
	if err != nil {
		return startStatus(err), err
	}
	env := append(os.Environ(), o.env...)
	if o.timeout == 0 {
		err := syscall.Exec(path, o.command, dedupe(env))
		return startStatus(err), fmt.Errorf("%s: %w", path, err)
	}
	cmd := exec.CommandContext(ctx, path, o.command[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return statusTimeout, context.Cause(ctx)
	case errors.As(err, &exit):
		return exitStatus(exit.ProcessState), nil
	case err != nil:
		return startStatus(err), err
	}
	return 0, nil
}

// dedupe keeps the last value of each variable.
func dedupe(env []string) []string {
	last := make(map[string]int, len(env))
	for i, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		last[key] = i
	}
	var kept []string
	for i, kv := range env {
		if key, _, _ := strings.Cut(kv, "="); last[key] == i {
			kept = append(kept, kv)
		}
	}
	return kept
}
