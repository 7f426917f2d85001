package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"govmm/cmd/nested/debian"
	"govmm/cmd/nested/testhost"
	"govmm/cmd/nested/wire"
)

// grace is how long a command may take to end after a signal.
const grace = 3 * time.Second

// runNested runs the command in the emulated machine.
func runNested(ctx context.Context, cancel context.CancelCauseFunc, o *options) (int, error) {
	if runtime.GOARCH != "amd64" {
		return statusFailure, fmt.Errorf("the test host is an amd64 machine and runs this host's programs, which are for %s", runtime.GOARCH)
	}
	if missing := debian.Missing(); len(missing) > 0 {
		return statusFailure, fmt.Errorf("packages missing: %s; run: %s", strings.Join(missing, " "), debian.RemedySetup)
	}
	cache, err := debian.NewCache(debian.Config{Log: o.logger()})
	if err != nil {
		return statusFailure, err
	}
	kernel, err := cache.Kernel(ctx, debian.Full61, false)
	if err != nil {
		return statusFailure, err
	}
	// Unpacked by the emulated processor, this kernel takes longer to start than
	// all that follows.
	image, err := kernel.Vmlinux()
	if err != nil {
		o.logger().Warn("starting the compressed kernel, which is slow", "err", err)
		image = kernel.Image
	}
	terminal, err := openTerminal()
	if err != nil {
		return statusFailure, err
	}
	defer terminal.restore()
	signals := make(chan syscall.Signal, 1)
	stopSignals := forwardSignals(ctx, cancel, signals)
	defer stopSignals()

	qemu := cache.QEMU()
	if len(qemu.Data) == 0 {
		o.logger().Warn("guests hang now and then on the system's QEMU", "run", debian.RemedySetup)
	}
	status, err := testhost.Run(ctx, testhost.Config{
		QEMU:        qemu.Program,
		Firmware:    qemu.Data,
		Kernel:      image,
		Modules:     kernel.Modules,
		CPUs:        o.cpus,
		MemoryMiB:   o.memory,
		VirtualTime: o.virtualTime,
		Job: wire.Job{
			Args:     o.command,
			Env:      environment(os.Environ(), o.env, o.virtualTime),
			Dir:      o.dir,
			Terminal: terminal.size(),
			Shares:   o.shares,
		},
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Resizes: terminal.resizes,
		Signals: signals,
		Started: terminal.makeRaw,
		Verbose: o.verbose,
		Log:     o.logger(),
	})
	terminal.restore()
	return report(status, err, o.verbose)
}

// report turns a failure of the test host into an exit status, and shows the
// kernel log if that was not shown already.
func report(status int, err error, shown bool) (int, error) {
	var interrupted *signalError
	var timeout *timeoutError
	switch {
	case err == nil:
		return status, nil
	case errors.As(err, &interrupted):
		return 128 + int(interrupted.signal), err
	case errors.As(err, &timeout):
		status = statusTimeout
	default:
		status = statusFailure
	}
	var host *testhost.Error
	if errors.As(err, &host) && !shown && len(host.Log) > 0 {
		fmt.Fprintf(os.Stderr, "nested: kernel log of the test host:\n%s\n", strings.TrimSpace(string(host.Log)))
	}
	return status, err
}

// environment returns the command's: this process's, with what a root of a
// machine has where nothing is set, and what the user adds.
func environment(own, added []string, virtualTime bool) []string {
	env := []string{
		"HOME=/root",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	env = append(env, own...)
	// For programs that ask whether the KVM they use is an emulated one.
	env = append(env, "GOVMM_NESTED=1")
	if virtualTime {
		// For those that must not take its clock for a time.
		env = append(env, "GOVMM_VIRTUAL_TIME=1")
	}
	return dedupe(append(env, added...))
}

// A signalError tells that a signal ended the run.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return "stopped by signal: " + e.signal.String() }

// forwardSignals passes signals to the command. The second one that asks to
// end, or the first when the command does not follow, ends everything.
func forwardSignals(ctx context.Context, cancel context.CancelCauseFunc, to chan<- syscall.Signal) (stop func()) {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() {
		var asked bool
		for {
			var sig syscall.Signal
			select {
			case <-ctx.Done():
				return
			case s := <-ch:
				sig = s.(syscall.Signal)
			}
			if asked {
				cancel(&signalError{sig})
				return
			}
			asked = true
			select {
			case to <- sig:
			default:
			}
			time.AfterFunc(grace, func() { cancel(&signalError{sig}) })
		}
	}()
	return func() { signal.Stop(ch) }
}

// A terminal is this process's, if standard input and output are one.
type terminal struct {
	fd      int
	is      bool
	state   *term.State
	resizes chan wire.Size
}

func openTerminal() (*terminal, error) {
	t := &terminal{fd: int(os.Stdin.Fd())}
	t.is = term.IsTerminal(t.fd) && term.IsTerminal(int(os.Stdout.Fd()))
	if !t.is {
		return t, nil
	}
	state, err := term.GetState(t.fd)
	if err != nil {
		return nil, err
	}
	t.state = state
	t.resizes = make(chan wire.Size, 1)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	go func() {
		for range changed {
			if size := t.size(); size != nil {
				t.resizes <- *size
			}
		}
	}()
	return t, nil
}

// size returns the terminal's size, nil if there is no terminal.
func (t *terminal) size() *wire.Size {
	if !t.is {
		return nil
	}
	cols, rows, err := term.GetSize(t.fd)
	if err != nil {
		return &wire.Size{Rows: 24, Cols: 80}
	}
	return &wire.Size{Rows: uint16(rows), Cols: uint16(cols)}
}

// makeRaw lets every key go to the command, whose terminal gives them meaning.
func (t *terminal) makeRaw() {
	if t.is {
		_, _ = term.MakeRaw(t.fd)
	}
}

// restore puts the terminal back into its first state.
func (t *terminal) restore() {
	if t.is {
		_ = term.Restore(t.fd, t.state)
	}
}
