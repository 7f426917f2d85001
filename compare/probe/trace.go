package probe

//go:generate sh calls.sh

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Trace is which system calls a command has made, with all its threads and children.
type Trace struct {
	Distinct int
	Names    []string // in alphabetical order
	Calls    uint64
}

func trace(args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("trace: no command")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr // its output is not ours
	t, err := TraceCommand(context.Background(), cmd)
	if err != nil {
		return err
	}
	return say(t)
}

// traceOptions has children and threads traced too, and everything ended with the tracer. A stop for a system call is told from a signal by its bit 7 (ptrace(2)).
const traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
	unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

const stopSyscall = unix.SIGTRAP | 0x80

// A tracer is the state of a trace.
type tracer struct {
	calls   map[uint64]uint64 // by number
	within  map[int]bool      // threads that are in a system call
	started int               // the command's process
}

// TraceCommand runs a command, which is not started, and counts the system calls of it and of all that it starts. The end of ctx kills it. The command's exit status is
// not an error.
func TraceCommand(ctx context.Context, cmd *exec.Cmd) (Trace, error) {
	type result struct {
		t   Trace
		err error
	}
	done := make(chan result, 1)
	go func() {
		// All requests come from the thread that is the tracer. It ends with the goroutine.
		runtime.LockOSThread()
		t, err := traceHere(ctx, cmd)
		done <- result{t, err}
	}()
	r := <-done
	if ctx.Err() != nil {
		return r.t, context.Cause(ctx)
	}
	return r.t, r.err
}

func traceHere(ctx context.Context, cmd *exec.Cmd) (Trace, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Ptrace = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return Trace{}, err
	}
	pid := cmd.Process.Pid
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(pid, unix.SIGKILL) })
	defer stop()
	t := &tracer{calls: make(map[uint64]uint64), within: make(map[int]bool), started: pid}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil { // it has stopped behind its execve
		return Trace{}, os.NewSyscallError("wait4", err)
	}
	if err := unix.PtraceSetOptions(pid, traceOptions); err != nil {
		return Trace{}, errors.Join(os.NewSyscallError("ptrace", err), cmd.Process.Kill())
	}
	t.calls[unix.SYS_EXECVE]++
	t.resume(pid, 0)
	if err := t.follow(); err != nil {
		return Trace{}, err
	}
	return t.result(), nil
}

// follow attends to all stops until the last traced process has ended.
func (t *tracer) follow() error {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			return nil // none is left
		case err != nil:
			return os.NewSyscallError("wait4", err)
		}
		if status.Stopped() {
			t.stopped(tid, status)
		}
	}
}

// stopped looks why a thread has stopped, and lets it go on.
func (t *tracer) stopped(tid int, status unix.WaitStatus) {
	signal := status.StopSignal()
	switch {
	case signal == stopSyscall:
		t.syscall(tid)
		signal = 0
	case signal == unix.SIGTRAP && status.TrapCause() > 0:
		if status.TrapCause() == unix.PTRACE_EVENT_EXEC {
			t.within[tid] = true // whichever thread it was: what follows is the end of execve
		}
		signal = 0
	case signal == unix.SIGSTOP:
		signal = 0 // a new thread begins with it
	}
	t.resume(tid, int(signal))
}

// syscall counts a call where it begins.
func (t *tracer) syscall(tid int) {
	if t.within[tid] {
		t.within[tid] = false
		return
	}
	t.within[tid] = true
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) == nil { // it may have been killed
		t.calls[regs.Orig_rax]++
	}
}

func (t *tracer) resume(tid, signal int) {
	_ = unix.PtraceSyscall(tid, signal) // it may have been killed
}

func (t *tracer) result() Trace {
	r := Trace{Distinct: len(t.calls)}
	for number, n := range t.calls {
		r.Calls += n
		r.Names = append(r.Names, callName(number))
	}
	slices.Sort(r.Names)
	return r
}

func callName(number uint64) string {
	if name, ok := callNames[number]; ok {
		return name
	}
	return "number " + strconv.FormatUint(number, 10)
}
