// Package testhost runs a command on a machine that QEMU emulates, with a
// processor that has AMD-V, so that the command finds a /dev/kvm that works
// like that of real hardware, whatever the host has.
//
// The machine sees the host's whole file system, as far as the user may read
// it, under a writable layer of memory. The command finds everything that is
// installed here; what it writes is lost, except in the directories that are
// shared read-write.
//
// Package guest is the other half: this program is also the machine's init.
package testhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"govmm/cmd/nested/wire"
)

// Config is a machine and what it is to run.
type Config struct {
	// QEMU is the name or path of qemu-system-x86_64. It emulates, so the host's processor does not matter.
	QEMU        string
	Firmware    []string // directories in which it finds its BIOS, besides its own
	Kernel      string   // a vmlinuz, or a vmlinux, which starts in half the time
	Modules     string   // its /lib/modules/VERSION directory
	CPUs        int
	MemoryMiB   int  // taken from the host only as the machine uses it
	VirtualTime bool // one instruction is 2 ns of the machine's clock, on one CPU

	Job    wire.Job
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	Resizes <-chan wire.Size      // new sizes of the terminal; may be nil
	Signals <-chan syscall.Signal // for the command; may be nil
	// Started, if not nil, is called when the command is about to run.
	Started func()

	Verbose bool         // the kernel log goes to Stderr as it comes, with more in it
	Log     *slog.Logger // nil is silent
}

// An Error is a failure of the test host, as opposed to the command's.
type Error struct {
	Err error
	Log []byte // the end of the test host's kernel log
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Run runs the job and returns its exit status, that of a command which a
// signal ended being 128 plus the signal's number. The machine is gone when Run
// returns, and with it whatever the command has left running. It is also gone
// when this process ends in any other way. When ctx is done, Run ends the
// machine and returns the context's cause.
func Run(ctx context.Context, c Config) (status int, err error) {
	// The kernel ends QEMU when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	begin := time.Now()
	m, err := startMachine(&c)
	if err != nil {
		return 0, err
	}
	defer m.close()
	stop := context.AfterFunc(ctx, m.kill)
	defer stop()

	s := &session{
		cfg:   &c,
		begin: begin,
		out:   wire.NewWriter(m.control),
		in:    wire.NewReader(m.control),
		input: wire.NewWriter(m.input),
	}
	status, sessionErr := s.run()
	broken := errors.Is(sessionErr, io.EOF) || errors.Is(sessionErr, io.ErrUnexpectedEOF) || errors.Is(sessionErr, syscall.ECONNRESET)
	waitErr := m.wait(broken)
	switch {
	case sessionErr == nil:
		return status, nil
	case ctx.Err() != nil:
		return 0, &Error{context.Cause(ctx), m.log.Bytes()}
	case broken:
		return 0, &Error{fmt.Errorf("the test host stopped before the command ended (%s: %w)", c.QEMU, endOf(waitErr)), m.log.Bytes()}
	}
	return 0, &Error{sessionErr, m.log.Bytes()}
}

// A machine is a running QEMU and the host's ends of its ports.
type machine struct {
	cmd     *exec.Cmd
	control *os.File
	input   *os.File
	log     *kernelLog
}

// startMachine starts QEMU. The caller has locked its thread.
func startMachine(c *Config) (*machine, error) {
	initrd, err := newInitrd(c.Modules)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	control, controlPeer, err := socketPair()
	if err != nil {
		return nil, err
	}
	// QEMU has these, and its death ends our reads only when no one else has.
	defer controlPeer.Close()
	input, inputPeer, err := socketPair()
	if err != nil {
		return nil, errors.Join(err, control.Close())
	}
	defer inputPeer.Close()

	m := &machine{cmd: exec.Command(c.QEMU, c.arguments()...), control: control, input: input, log: &kernelLog{}}
	if c.Verbose {
		m.log.also = c.Stderr
	}
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	m.cmd.ExtraFiles = []*os.File{initrd, controlPeer, inputPeer}
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // keys that send signals reach this process only
	}
	c.Log.Debug("starting", "command", m.cmd.Args)
	if err := m.cmd.Start(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// kill ends the machine. It may be called at any time, from any goroutine.
func (m *machine) kill() { _ = m.cmd.Process.Kill() }

// wait returns how QEMU ended. It kills it first, unless it is ending by
// itself: then it has a status to tell, but not all the time in the world.
func (m *machine) wait(ending bool) error {
	if !ending {
		m.kill()
	}
	last := time.AfterFunc(2*time.Second, m.kill)
	defer last.Stop()
	return m.cmd.Wait()
}

func (m *machine) close() {
	_ = m.control.Close()
	_ = m.input.Close()
}

// endOf returns how QEMU ended, for a message.
func endOf(waitErr error) error {
	if waitErr == nil {
		return errors.New("exit status 0")
	}
	return waitErr
}

// socketPair returns the two ends of a stream. The first may be read and
// written with goroutines waiting in the runtime's poller.
func socketPair() (*os.File, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "port"), os.NewFile(uintptr(fds[1]), "port of qemu"), nil
}
