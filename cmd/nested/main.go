// Command nested runs a command where there is a real /dev/kvm.
//
//	nested [flags] [--] COMMAND [ARG...]
//	nested setup
//	nested kernel [--update] [--vmlinux] [--fragments FRAGMENTS] NAME
//	nested modules [--update] NAME
//
// On a host with hardware virtualization it steps aside and executes the command
// in its own place. Elsewhere it starts a machine under QEMU's software
// emulation, which has a processor with AMD-V, and runs the command there, as
// root, with the host's file system under a layer of memory: the command finds
// every program and file of the host that the user may read at its place, and
// what it writes is lost when it ends, except below directories given with
// --share. There is no network.
//
// Standard input, output and error and the exit status are the command's, with
// a terminal if standard input and output are one. An interrupt or another
// signal goes to the command first and after three seconds, or the second time,
// ends everything. Status 125 tells of a failure of nested itself, 124 of
// --timeout, 126 and 127 of a command that cannot be executed or found, 128 and
// more of a signal. ("go run" turns every status but 0 into 1.)
//
// Setup installs what is missing, by apt. Kernel prints the path of a stock
// kernel of Debian, for guests to boot, and modules that of its modules; both
// download it the first time. The kernel named tiny is govmm's own, which is
// built of Debian's source the first time and after a change of its
// configuration (bootimage/kernel).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"govmm/cmd/nested/guest"
)

// Exit statuses of nested's own, as timeout(1) and env(1) have them.
const (
	statusTimeout       = 124
	statusFailure       = 125
	statusNotExecutable = 126
	statusNotFound      = 127
)

func main() {
	if guest.IsInit() {
		guest.Main()
	}
	os.Exit(run(os.Args[1:]))
}

// run is the command; it returns the exit status.
func run(args []string) int {
	var err error
	status := 0
	switch {
	case len(args) > 0 && args[0] == "setup":
		err = setup(args[1:])
	case len(args) > 0 && (args[0] == "kernel" || args[0] == "modules"):
		err = printKernel(args[0], args[1:])
	default:
		status, err = runCommand(args)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "nested:", err)
		if status == 0 {
			return statusFailure
		}
		return status
	}
	return status
}

// options are the flags of a run.
type options struct {
	virtualTime bool // in the emulated machine
	always      bool
	direct      bool
	cpus        int
	memory      int
	timeout     time.Duration
	env         []string
	dir         string
	shares      []string
	verbose     bool

	command []string
}

const usage = `usage: nested [flags] [--] COMMAND [ARG...]
       nested setup [PACKAGE=PROGRAM...]
       nested kernel [--update] [--vmlinux] [--fragments FRAGMENTS] NAME
       nested modules [--update] NAME

Runs COMMAND where there is a real /dev/kvm.

`

// parseOptions reads the command line of a run. Help, if asked for, goes to out.
func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	needsMachine := false
	f := flag.NewFlagSet("nested", flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are returned; the usage is for those who ask
	f.Usage = func() {}
	f.BoolFunc("virtual-time", "let the clock count instructions; implies --always and --cpus 1; with =auto only where the command does not run on this host", func(s string) error {
		on, err := strconv.ParseBool(s)
		if err != nil && s != "auto" {
			return errors.New("give true, false or auto")
		}
		o.virtualTime, needsMachine = on || s == "auto", on
		return nil
	})
	f.BoolVar(&o.always, "always", false, "use the emulated machine even with hardware virtualization")
	f.BoolVar(&o.direct, "direct", false, "run the command on this host whatever it has")
	f.IntVar(&o.cpus, "cpus", 2, "processors of the machine")
	f.IntVar(&o.memory, "memory", 4096, "memory of the machine in MiB, taken as it is used")
	f.DurationVar(&o.timeout, "timeout", 0, "end the command after this time, with status 124 (default none)")
	f.StringVar(&o.dir, "dir", "", "working directory of the command (default this one)")
	f.BoolVar(&o.verbose, "v", false, "tell what is done and show the machine's kernel log")
	f.Func("env", "set `KEY=VALUE` in the command's environment; may be repeated", func(s string) error {
		if key, _, ok := strings.Cut(s, "="); !ok || key == "" {
			return errors.New("not KEY=VALUE")
		}
		o.env = append(o.env, s)
		return nil
	})
	f.Func("share", "let the command write to `DIR` of this host; may be repeated", func(s string) error {
		o.shares = append(o.shares, s)
		return nil
	})
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(out)
			fmt.Fprint(out, usage)
			f.PrintDefaults()
		}
		return nil, err
	}
	o.command = f.Args()
	o.always = o.always || needsMachine
	return o, o.complete()
}

// complete checks the options and fills in what was left open.
func (o *options) complete() error {
	switch {
	case len(o.command) == 0:
		return errors.New("no command given; see nested -h")
	case o.direct && o.always:
		return errors.New("--direct excludes --always and --virtual-time")
	case o.cpus < 1 || o.cpus > 64:
		return fmt.Errorf("--cpus %d: give 1 to 64", o.cpus)
	case o.memory < 512:
		return fmt.Errorf("--memory %d: give at least 512 (MiB)", o.memory)
	case o.timeout < 0:
		return fmt.Errorf("--timeout %v: give a positive time", o.timeout)
	}
	var err error
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	for i, dir := range o.shares {
		if o.shares[i], err = filepath.Abs(dir); err != nil {
			return err
		}
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("--share: %w", err)
		}
		if !info.IsDir() {
			return fmt.Errorf("--share %s: not a directory", dir)
		}
	}
	return nil
}

// logger returns one for what -v tells.
func (o *options) logger() *slog.Logger {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	return newLogger(level)
}

func newLogger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// runCommand runs the command here or in the machine.
func runCommand(args []string) (int, error) {
	o, err := parseOptions(args, os.Stderr)
	if err != nil {
		return statusFailure, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	if o.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, o.timeout, &timeoutError{o.command[0], o.timeout})
		defer stop()
	}
	direct := o.direct
	if !direct && !o.always {
		why := virtualization()
		direct = why == nil
		o.logger().Debug("looked at this host", "direct", direct, "missing", why)
		var unusable *fs.PathError
		if errors.As(why, &unusable) && unusable.Path == kvmPath {
			o.logger().Warn("this host has hardware virtualization that cannot be used; emulating it", "err", why)
		}
	}
	if direct {
		return runDirect(ctx, o)
	}
	return runNested(ctx, cancel, o)
}

// A timeoutError tells that the command took too long.
type timeoutError struct {
	command string
	after   time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%s did not end within %v (--timeout)", e.command, e.after)
}

// exitStatus returns the status of a program that os/exec has run.
func exitStatus(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}

// startStatus returns the status for a command that could not be started.
func startStatus(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return statusNotFound
	}
	return statusNotExecutable
}
