package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"govmm/sandbox"
)

const (
	traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	// syscallStop is how a stop at a system call differs from one for SIGTRAP, by PTRACE_O_TRACESYSGOOD.
	syscallStop = unix.SIGTRAP | 0x80
)

// traceCommand runs a command, whose output goes to standard error, and counts its system calls.
func traceCommand(args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("no command")
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	t, err := TraceCommand(ctx, cmd)
	if err != nil {
		return err
	}
	return say(out, t)
}

// TraceCommand runs cmd, which has not been started, and counts the system calls of it, its threads and all processes that come of it, until the last of them has ended.
// When ctx ends, all are killed; what was counted until then comes with ctx's error. Of x86-64's system calls only: those of 32-bit programs count as one, "i386".
//
// How the command ended is in cmd.ProcessState and, as by cmd.Wait, not an error here.
func TraceCommand(ctx context.Context, cmd *exec.Cmd) (Trace, error) {
	type result struct {
		trace Trace
		err   error
	}
	done := make(chan result)
	go func() {
		// The kernel takes ptrace(2) from the thread alone that began it. It is not given back, as it may still have tracees; they die with it.
		runtime.LockOSThread()
		t, err := traceHere(ctx, cmd)
		done <- result{t, err}
	}()
	r := <-done
	return r.trace, r.err
}

// A tracer follows processes. Its methods other than killAll belong to its thread.
type tracer struct {
	ctx    context.Context
	cmd    *exec.Cmd
	ended  chan error // has the command's end when waited is true
	waited bool
	calls  map[uint64]uint64

	mu      sync.Mutex
	threads map[int]thread // that are followed, by their numbers
	early   map[int]bool   // ended before the call that started them was seen to return
}

// A thread is heard of twice when it begins: by its first stop, and by the one who started it. Either may come first.
type thread struct{ stopped, announced bool }

func traceHere(ctx context.Context, cmd *exec.Cmd) (Trace, error) {
	if err := ctx.Err(); err != nil {
		return Trace{}, err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return Trace{}, err
	}
	t := &tracer{ctx: ctx, cmd: cmd, ended: make(chan error, 1), calls: make(map[uint64]uint64), threads: make(map[int]thread), early: make(map[int]bool)}
	t.announce(cmd.Process.Pid)
	stop := context.AfterFunc(ctx, t.killAll)
	defer stop()
	if err := t.begin(); err != nil {
		return Trace{}, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	err := t.follow()
	if err != nil {
		t.killAll()
	}
	return t.result(), errors.Join(err, ctx.Err())
}

// begin takes the command at its first instruction.
func (t *tracer) begin() error {
	pid := t.cmd.Process.Pid
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait4: %w", err)
		}
		break
	}
	if !ws.Stopped() {
		return errors.New("the command ended before it began")
	}
	if err := unix.PtraceSetOptions(pid, traceOptions); err != nil {
		return fmt.Errorf("ptrace: %w", err)
	}
	t.stopped(pid)
	t.calls[unix.SYS_EXECVE]++ // which has just returned
	return unix.PtraceSyscall(pid, 0)
}

// follow lets the threads go from stop to stop until there are none.
func (t *tracer) follow() error {
	for t.following() {
		pid, isStop, err := t.await()
		if err == unix.ECHILD { // those that are left were killed before they began
			break
		}
		if err != nil {
			return err
		}
		if err := t.handle(pid, isStop); err != nil && err != unix.ESRCH { // ESRCH: was killed meanwhile
			return fmt.Errorf("ptrace: %w", err)
		}
	}
	if !t.waited {
		return errors.New("the command was lost")
	}
	<-t.ended
	return nil
}

// handle takes a stop, or an end.
func (t *tracer) handle(pid int, isStop bool) error {
	if !isStop && pid == t.cmd.Process.Pid {
		t.remove(pid)
		t.waited = true
		// Copies the command's output too, which its children may still write.
		go func() { t.ended <- t.cmd.Wait() }()
		return nil
	}
	var ws unix.WaitStatus
	if got, err := unix.Wait4(pid, &ws, unix.WALL|unix.WNOHANG, nil); err != nil || got != pid {
		return ignore(err, nil, unix.EINTR, unix.ECHILD)
	}
	if ws.Exited() || ws.Signaled() {
		t.remove(pid)
		return nil
	}
	isNew := t.stopped(pid)
	if t.ctx.Err() != nil {
		return unix.Kill(pid, unix.SIGKILL)
	}
	return t.resume(pid, ws, isNew)
}

func ignore(err error, those ...error) error {
	if slices.Contains(those, err) {
		return nil
	}
	return err
}

// resume lets a stopped thread go on, with the signal that it has stopped for if that is its own and not ptrace's.
func (t *tracer) resume(pid int, ws unix.WaitStatus, isNew bool) error {
	signal := 0
	switch s := ws.StopSignal(); {
	case s == syscallStop:
		if err := t.count(pid); err != nil {
			return err
		}
	case s == unix.SIGTRAP && ws.TrapCause() > 0:
		t.event(pid, ws.TrapCause())
	case s == unix.SIGSTOP && isNew: // how a new thread begins
	default:
		signal = int(s)
	}
	return unix.PtraceSyscall(pid, signal)
}

// event takes what a thread has stopped to tell: that it has started another, or another program. In the second case the thread that has called execve goes on
// by its process's number, and has no end of its own.
func (t *tracer) event(pid, kind int) {
	subject, err := unix.PtraceGetEventMsg(pid)
	switch {
	case err != nil: // was killed meanwhile
	case kind != unix.PTRACE_EVENT_EXEC:
		t.announce(int(subject))
	case int(subject) != pid:
		t.remove(int(subject))
	}
}

// i386 stands for the system calls of 32-bit programs.
const i386 = 1 << 63

// count counts the system call that a thread enters.
func (t *tracer) count(pid int) error {
	info, err := ptraceSyscallInfo(pid)
	if err != nil || info.op != unix.PTRACE_SYSCALL_INFO_ENTRY {
		return err
	}
	if info.arch != unix.AUDIT_ARCH_X86_64 {
		info.nr = i386
	}
	// A program can make up numbers.
	if info.nr != i386 && sandbox.CallName(info.nr) == "" {
		info.nr = noSyscall
	}
	t.calls[info.nr]++
	return nil
}

// noSyscall stands for all numbers that are not those of system calls.
const noSyscall = 1<<63 + 1

func (t *tracer) result() Trace {
	r := Trace{Distinct: len(t.calls), Names: []string{}}
	for nr, n := range t.calls {
		name := sandbox.CallName(nr)
		switch nr {
		case i386:
			name = "i386"
		case noSyscall:
			name = "unknown"
		}
		r.Names = append(r.Names, name)
		r.Calls += n
	}
	slices.Sort(r.Names)
	return r
}

// await waits for a thread that is followed to stop or to end, and leaves it so. This thread may have children of others' in this process, which are theirs to wait for.
func (t *tracer) await() (pid int, isStop bool, err error) {
	for {
		pid, isStop, err = peek(unix.P_ALL, 0, unix.WEXITED|unix.WSTOPPED|unix.WNOTHREAD|unix.WALL)
		if err != nil || isStop || t.follows(pid) {
			return pid, isStop, err
		}
		// Somebody else's has ended, and hides what comes behind it.
		if pid, isStop := t.sweep(); pid != 0 {
			return pid, isStop, nil
		}
		time.Sleep(time.Millisecond)
	}
}

// sweep looks for a thread that has stopped or ended, one by one.
func (t *tracer) sweep() (pid int, isStop bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for tid := range t.threads {
		if pid, isStop, err := peek(unix.P_PID, tid, unix.WEXITED|unix.WSTOPPED|unix.WNOHANG|unix.WALL); err == nil && pid != 0 {
			return pid, isStop
		}
	}
	return 0, false
}

// killAll may be called from any goroutine. What is started meanwhile stops before it runs, and is killed then.
func (t *tracer) killAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for tid := range t.threads {
		_ = unix.Kill(tid, unix.SIGKILL)
	}
}

// stopped notes that a thread has stopped, and says whether that is how it began.
func (t *tracer) stopped(tid int) (isNew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	th := t.threads[tid]
	isNew = !th.stopped
	th.stopped = true
	t.threads[tid] = th
	return isNew
}

// announce notes that a thread was started.
func (t *tracer) announce(tid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.early[tid] {
		delete(t.early, tid)
		return
	}
	th := t.threads[tid]
	th.announced = true
	t.threads[tid] = th
}

// remove notes that a thread has ended.
func (t *tracer) remove(tid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if th, ok := t.threads[tid]; ok && !th.announced {
		t.early[tid] = true
	}
	delete(t.threads, tid)
}

func (t *tracer) follows(tid int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.threads[tid]
	return ok
}

func (t *tracer) following() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.threads) > 0
}
