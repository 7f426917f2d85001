package probe

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func traced(t *testing.T, cmd *exec.Cmd) Trace {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	trace, err := TraceCommand(ctx, cmd)
	if errors.Is(err, unix.EPERM) {
		t.Skip("ptrace is forbidden here")
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Names) != trace.Distinct || trace.Calls < uint64(trace.Distinct) || !slices.IsSorted(trace.Names) {
		t.Errorf("%+v", trace)
	}
	return trace
}

func has(t *testing.T, trace Trace, names ...string) {
	t.Helper()
	for _, name := range names {
		if !slices.Contains(trace.Names, name) {
			t.Errorf("no %s in %q", name, trace.Names)
		}
	}
}

func TestTrace(t *testing.T) {
	cmd := exec.Command("true")
	trace := traced(t, cmd)
	has(t, trace, "execve", "exit_group")
	if cmd.ProcessState == nil || !cmd.ProcessState.Success() {
		t.Errorf("ended as %v", cmd.ProcessState)
	}
}

// TestTraceChildren has system calls that only children make, one of which outlives its parent.
func TestTraceChildren(t *testing.T) {
	var out strings.Builder
	cmd := exec.Command("sh", "-c", "mkdir $0/d; rmdir $0/d; (sleep 0.2; echo late) & exit 3", t.TempDir())
	cmd.Stdout = &out
	has(t, traced(t, cmd), "mkdir", "rmdir", "wait4", "clock_nanosleep")
	if cmd.ProcessState.ExitCode() != 3 || out.String() != "late\n" {
		t.Errorf("%v, %q", cmd.ProcessState, out.String())
	}
}

// TestTraceThreads follows a Go program.
func TestTraceThreads(t *testing.T) {
	has(t, traced(t, exec.Command("go", "version")), "clone", "futex", "exit_group")
}

func TestTraceSignals(t *testing.T) {
	cmd := exec.Command("sh", "-c", "trap 'exit 7' TERM; kill -TERM $$; sleep 10")
	traced(t, cmd)
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v", cmd.ProcessState)
	}
	cmd = exec.Command("sh", "-c", "kill -KILL $$")
	traced(t, cmd)
	if cmd.ProcessState.ExitCode() != -1 {
		t.Errorf("%v", cmd.ProcessState)
	}
}

// TestTraceEnds ends it early, with children and children's children.
func TestTraceEnds(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	begin := time.Now()
	cmd := exec.Command("sh", "-c", "(sleep 60; true) & (sleep 60; true) & while :; do true; done")
	_, err := TraceCommand(ctx, cmd)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// TestTraceBesideOthers has other commands of this process end meanwhile.
func TestTraceBesideOthers(t *testing.T) {
	end := make(chan error)
	go func() {
		var err error
		for range 30 {
			err = errors.Join(err, exec.Command("true").Run())
		}
		end <- err
	}()
	for range 3 {
		has(t, traced(t, exec.Command("sh", "-c", "true; mkdir /; true")), "mkdir")
	}
	if err := <-end; err != nil {
		t.Error(err)
	}
}

func TestTraceNothing(t *testing.T) {
	if _, err := TraceCommand(t.Context(), exec.Command("/no/such/command")); err == nil {
		t.Error("no error")
	}
	refused(t, "trace")
	refused(t, "trace", "--")
}
