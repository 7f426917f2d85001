package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A trace is an instance of the kernel's tracer (Documentation/trace/ftrace.rst, "Instances") that records which
// programs descendants of one thread execute, and when they enter guests.
type trace struct{ dir string }

// Events of interest. Both are recorded on the thread that they tell of.
const (
	eventExec  = "sched_process_exec"
	eventEntry = "kvm_entry" // just before the processor goes to the guest
)

// openTrace makes an instance. The caller's goroutine is locked to the thread whose children are traced.
func openTrace() (*trace, error) {
	var root string
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(filepath.Join(dir, "instances")); err == nil {
			root = dir
			break
		} else if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("tracefs is root's: %w", err)
		}
	}
	if root == "" {
		return nil, errors.New("tracefs is not mounted at /sys/kernel/tracing")
	}
	t := &trace{filepath.Join(root, "instances", fmt.Sprintf("govmm-bench-%d", os.Getpid()))}
	if err := os.Mkdir(t.dir, 0o755); err != nil {
		return nil, err
	}
	for _, set := range []struct{ file, value string }{
		{"trace_clock", "mono"},
		{"options/overwrite", "0"}, // the first events are what is wanted
		{"options/event-fork", "1"},
		{"set_event_pid", fmt.Sprint(syscall.Gettid())},
		{"events/sched/" + eventExec + "/enable", "1"},
		{"events/kvm/" + eventEntry + "/enable", "1"},
	} {
		if err := t.set(set.file, set.value); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	return t, nil
}

func (t *trace) set(file, value string) error {
	f, err := os.OpenFile(filepath.Join(t.dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func (t *trace) close() error { return os.Remove(t.dir) }

// clear forgets what was recorded.
func (t *trace) clear() error { return t.set("trace", "") }

// firstEntry returns how long after the execution of program a guest was entered.
func (t *trace) firstEntry(program string) (time.Duration, error) {
	f, err := os.Open(filepath.Join(t.dir, "trace"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return execToEntry(f, program)
}

// traceLine is an event: thread, perhaps its process, processor, flags, seconds, name, details.
var traceLine = regexp.MustCompile(`^.*-\d+ +(?:\([ \d-]+\) +)?\[\d+\] +\S+ +(\d+)\.(\d{6}): (\w+): (.*)$`)

// execToEntry finds the first execution of program in a trace and the first entry after it.
func execToEntry(r io.Reader, program string) (time.Duration, error) {
	executed := time.Duration(-1)
	s := bufio.NewScanner(r)
	for s.Scan() {
		m := traceLine.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		at, err := strconv.ParseInt(m[1]+m[2], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("trace: %q: %w", s.Text(), err)
		}
		switch now := time.Duration(at) * time.Microsecond; {
		case m[3] == eventExec && executed < 0 && strings.HasPrefix(m[4], "filename="+program+" "):
			executed = now
		case m[3] == eventEntry && executed >= 0:
			return now - executed, nil
		}
	}
	if err := s.Err(); err != nil {
		return 0, err
	}
	if executed < 0 {
		return 0, fmt.Errorf("the trace has no execution of %s", program)
	}
	return 0, errors.New("the trace has no entry into a guest")
}

// onThread runs f on a thread that no other goroutine uses.
func onThread(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return f()
}
