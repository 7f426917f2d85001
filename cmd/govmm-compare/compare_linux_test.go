//go:build linuxtest

package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"govmm/compare/report"
	"govmm/machine/guesttest"
)

// Variables of the environment of these tests.
const (
	envGovmm  = "GOVMM_TEST_GOVMM"  // the program
	envRounds = "GOVMM_TEST_ROUNDS" // how many comparisons are interrupted
)

// compared runs this program as a user does, with an environment in which only it makes temporary files. stop ends it, if it is not nil.
func compared(t *testing.T, tmp string, stop func(*os.Process), args ...string) (stdout []byte, err error) {
	t.Helper()
	govmm := os.Getenv(envGovmm)
	if govmm == "" {
		t.Fatal(envGovmm + " is not set; run this test with: make test-compare")
	}
	args = append([]string{"--govmm", govmm, "--kernel", guesttest.Kernel(t, "tiny")}, args...)
	c := exec.Command("/proc/self/exe", args...)
	c.Env = append(os.Environ(), "TMPDIR="+tmp, envMain+"=1")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if stop != nil {
		stop(c.Process)
	}
	if err = c.Wait(); err != nil {
		err = errors.Join(err, errors.New(errs.String()))
	}
	return out.Bytes(), err
}

// TestCompare compares a real virtual machine with real containers.
func TestCompare(t *testing.T) {
	before := lookAround(t)
	tmp := t.TempDir()
	out, err := compared(t, tmp, nil, "--json", "-", "--runtime", "runc,crun", "--runs", "1",
		"--other-kernel", guesttest.Kernel(t, "6.1-cloud"), "--only", "hardware,kernel,resources,isolation,surface,size,legacy")
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.ReadJSON(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range r.Claims {
		t.Logf("%s: %s: %s", k.Key, k.Verdict, k.Finding)
		if k.Verdict != report.Holds {
			t.Errorf("%s: %s: %s", k.Key, k.Verdict, k.Finding)
		}
		for _, row := range k.Rows {
			for _, c := range row.Cells {
				if c.Missing != "" {
					t.Errorf("%s, %s: not measured: %s", row.ID, c.Subject, c.Missing)
				}
			}
		}
	}
	if len(r.Missing) > 0 {
		t.Errorf("missing: %q", r.Missing)
	}
	sameAround(t, before, tmp)
}

// TestInterrupted ends comparisons at random moments. Nothing may be left of them.
func TestInterrupted(t *testing.T) {
	rounds := 5
	if text := os.Getenv(envRounds); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	before := lookAround(t)
	for i := range rounds {
		tmp := t.TempDir()
		moment := time.Duration(rand.Int64N(int64(12 * time.Second)))
		signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
		_, err := compared(t, tmp, func(p *os.Process) {
			time.Sleep(moment)
			_ = p.Signal(signal) // it may have ended
		}, "--runtime", "runc,crun", "--runs", "1", "--only", "startup")
		if err != nil && !endedBy(err, signal) {
			t.Errorf("ended by %v after %v: %v", signal, moment, err)
		}
		sameAround(t, before, tmp)
	}
}

// endedBy says whether a program has ended with the exit status for a signal, or of that signal, if it came before the program could expect it.
func endedBy(err error, signal syscall.Signal) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return exit.ExitCode() == 128+int(signal) || ok && status.Signaled() && status.Signal() == signal
}

// surroundings are what a comparison could leave behind.
type surroundings struct{ processes, mounts, cgroups []string }

func lookAround(t *testing.T) surroundings {
	t.Helper()
	var s surroundings
	for _, path := range glob(t, "/proc/[0-9]*/comm") {
		name, err := os.ReadFile(path)
		if err == nil && slices.ContainsFunc([]string{"govmm", "runc", "crun", "busybox", "compareprobe"}, func(p string) bool { return strings.HasPrefix(string(name), p) }) {
			s.processes = append(s.processes, strings.TrimSpace(string(name)))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s.mounts = strings.Split(string(mounts), "\n")
	s.cgroups = glob(t, "/sys/fs/cgroup/*/cgroup.procs")
	return s
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sameAround holds that nothing is left. A process that has been killed may take a moment to go.
func sameAround(t *testing.T, before surroundings, tmp string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		after := lookAround(t)
		left, err := os.ReadDir(tmp)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 && slices.Equal(before.processes, after.processes) && slices.Equal(before.mounts, after.mounts) && slices.Equal(before.cgroups, after.cgroups) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("left: files %v\nbefore %+v\nafter  %+v", left, before, after)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
