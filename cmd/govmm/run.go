package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"govmm/agent"
	"govmm/devices/virtio"
	virtioconsole "govmm/devices/virtio/console"
	"govmm/devices/virtio/rng"
	"govmm/machine"
)

// Exit statuses of govmm run: that of timeout(1), and the one of container runtimes for a command that was not run for a reason of ours.
const (
	statusTimeout = 124
	statusRun     = 125
)

const runHelp = `run starts a virtual machine with its own kernel, whose root file system is a directory or a tar archive, runs one command in it, and ends
with that command's exit status. The guest has a copy: what it writes is gone with it. Standard input, output and error are the command's, unchanged;
on a terminal it gets a terminal, where Ctrl-A X ends the guest and Ctrl-A A is Ctrl-A. Signals are passed on to the command; a second one ends the guest. Nothing of
it needs root.

The kernel is one with virtio over PCI, its console and an initramfs built in, as "make kernel" builds it; stock kernels have the first two as modules.

Exit status: the command's; 128 and the number of the signal that ended it; 126 if it cannot be run, 127 if it is not there; 125 for an error of govmm's own;
159 if the sandbox ended it, because the monitor made a system call that it never makes by itself.`

type runFlags struct {
	rootfs, kernel string
	memory         size
	cpus           int
	spec           agent.Spec
	env            []string
	disks          []string
	net            string
	terminal       terminalWhen
	timeout        time.Duration
	trace          traceFlag
	sandbox        sandboxMode
	gdb            gdbFlags
	verbose        bool
}

// terminalWhen is the value of --terminal.
type terminalWhen int

const (
	terminalAuto terminalWhen = iota
	terminalYes
	terminalNo
)

func newRunCommand() *cobra.Command {
	f := &runFlags{memory: 512 << 20}
	c := &cobra.Command{
		Use:   "run --rootfs DIR|TAR [flags] [--] COMMAND [ARG...]",
		Short: "run a command in a virtual machine with a root file system of yours",
		Long:  runHelp,
		Example: `  govmm run --rootfs ./rootfs -- uname -a
  docker export -o app.tar CONTAINER; govmm run --rootfs app.tar -- /bin/app
  govmm run --rootfs alpine.tar --net user -m 1G -c 2 -- sh`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("run takes a command, as in: govmm run --rootfs DIR -- uname -a; see govmm run --help")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			f.spec.Args = args
			return f.run()
		},
	}
	flags := c.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringVar(&f.rootfs, "rootfs", "", "the root file system: a `DIR` or a tar archive, plain or compressed by gzip, zstd or xz")
	flags.StringVarP(&f.kernel, "kernel", "k", "", "kernel `FILE` (default $GOVMM_KERNEL, or the one that make kernel has built)")
	flags.VarP(&f.memory, "memory", "m", "guest memory, with a suffix of K, M or G; the root file system is in it")
	flags.IntVarP(&f.cpus, "cpus", "c", machine.DefaultCPUs, "number of virtual CPUs")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment of the command, `NAME=VALUE`, or NAME with the value it has here; repeat for more")
	flags.StringVarP(&f.spec.Dir, "workdir", "w", "", "working `DIR` of the command (default /)")
	flags.StringVarP(&f.spec.User, "user", "u", "", "run it as `USER[:GROUP]`, names of the root file system's or numbers (default root)")
	flags.StringVar(&f.spec.Hostname, "hostname", "govmm", "the guest's host `NAME`")
	flags.StringArrayVarP(&f.disks, "disk", "d", nil, "disk image, `PATH[,OPTION]...` as for boot: /dev/vda and so on, for the command to use or mount; repeat for more")
	flags.StringVarP(&f.net, "net", "n", "", "network, `KIND[,OPTION]...` as for boot: user, with hostfwd=tcp:HOST:PORT-GUEST:PORT (default none)")
	addChoice(c, &f.terminal, "terminal", "WHEN", "whether the command gets a terminal: auto (where standard input and output are one), yes, no",
		word[terminalWhen]{"auto", terminalAuto}, word[terminalWhen]{"yes", terminalYes}, word[terminalWhen]{"no", terminalNo})
	flags.DurationVar(&f.timeout, "timeout", 0, "end the guest after this `TIME`, as 30s, with status 124 (default none)")
	addTraceFlag(c, &f.trace)
	addSandboxFlag(c, &f.sandbox)
	addGDBFlags(c, &f.gdb)
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log what the monitor does, and show the kernel's messages, on standard error")
	return c
}

// errTimeout is the cause with which --timeout ends the run.
var errTimeout = errors.New("the time limit has passed")

// run runs the command, with the exit statuses that runHelp says.
func (f *runFlags) run() error {
	status, err := f.runStatus()
	var start *agent.StartError
	switch {
	case errors.As(err, &start):
		return &statusError{start.Status, err}
	case errors.Is(err, errTimeout):
		return &statusError{statusTimeout, fmt.Errorf("%w (--timeout %v)", err, f.timeout)}
	case err != nil:
		var sig *signalError
		if errors.As(err, &sig) {
			return &statusError{statusSignal0 + int(sig.sig), err}
		}
		return &statusError{statusRun, err}
	case status != 0:
		return &statusError{code: status}
	}
	return nil
}

func (f *runFlags) runStatus() (int, error) {
	if err := f.complete(); err != nil {
		return 0, err
	}
	if err := f.sandbox.prepare(); err != nil {
		return 0, err
	}
	if err := closeStrays([]string{f.net}); err != nil {
		return 0, err
	}
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, errTimeout)
		defer cancel()
	}
	if err := stderr.during(ctx); err != nil {
		return 0, err
	}
	out, err := newOutput(ctx, os.Stdout, end)
	if err != nil {
		return 0, err
	}
	defer out.close()
	errs, err := newOutput(ctx, os.Stderr, end)
	if err != nil {
		return 0, err
	}
	defer errs.close()
	out.name, errs.name = "standard output", "standard error"
	session := agent.NewSession(strictOutput{out}, strictOutput{errs})
	kernelSays := newKernelLog(f.verbose)
	defer f.trace.close()
	m, open, err := f.newMachine(session, kernelSays, end)
	if err != nil {
		return 0, err
	}
	defer open.close()
	defer m.Close()
	stderr.finishWith(m)
	return f.attend(ctx, end, m, open, session, kernelSays)
}

// attend runs the machine, with what is open for it, until the command ends.
func (f *runFlags) attend(ctx context.Context, end context.CancelCauseFunc, m *machine.Machine, open *openDevices, session *agent.Session, kernelSays *kernelLog) (int, error) {
	con := openConsole(end, slog.New(slog.DiscardHandler))
	defer con.restore()
	if err := f.connect(ctx, con, session); err != nil {
		return 0, err
	}
	stop := forwardSignals(ctx, end, session)
	defer stop()
	go session.Run(ctx)
	go func() {
		select {
		case <-session.Ended():
			end(errEnded)
		case <-ctx.Done():
		}
	}()
	shed, err := f.sandbox.start(m, open.nets, open.gdb)
	if err != nil {
		return 0, err
	}
	go giveBack(ctx, m, session, shed)
	outcome, err := m.Run(ctx)
	open.gdb.finish(err)
	session.Flush(ctx)
	cause := context.Cause(ctx)
	end(nil)
	session.Join() // outputs give up when the run is over
	con.restore()
	warn(f.trace.write(m)) // the exit status stays the command's
	select {
	case <-session.Ended():
		return session.Status()
	default:
	}
	if err != nil && !errors.Is(err, errEscape) || cause != nil {
		if cause == nil {
			cause = err
		}
		return 0, cause
	}
	return 0, fmt.Errorf("the guest ended (%v) before the command did; %s", outcome.Reason, kernelSays.last())
}

// settled is how long a command must have run for it to be worthwhile to give back what only the start needed of the heap.
const settled = time.Second

// giveBack gives memory back that is of no use once the command runs.
func giveBack(ctx context.Context, m *machine.Machine, session *agent.Session, shed *shedder) {
	select {
	case <-session.Ready(): // by an init that lay in the initrd
		_ = m.DiscardInitrd()
	case <-ctx.Done():
		return
	}
	select {
	case <-time.After(settled):
		debug.FreeOSMemory()
		shed.shed() // again, with what the start of the command and the collection have touched
	case <-ctx.Done():
	}
}

// errEnded is the cause with which the end of the command ends the run.
var errEnded = errors.New("the command has ended")

// connect joins the command's input with ours.
func (f *runFlags) connect(ctx context.Context, con *console, session *agent.Session) error {
	if !f.spec.Terminal {
		in := con.input() // which the sandbox does not let be asked for later
		go func() { _ = session.Feed(ctx, in) }()
		return nil
	}
	followSize(ctx, func(cols, rows uint16) { _ = session.Resize(ctx, cols, rows) })
	if !con.terminal {
		go func() { _ = session.Feed(ctx, os.Stdin) }()
		return nil
	}
	r, w := io.Pipe()
	go func() { _ = session.Feed(ctx, r) }()
	return con.start(ctx, func(_ context.Context, p []byte) (int, error) { return w.Write(p) })
}

// hears tells whether there is a command that can be sent a signal: not before it starts, nor when its output is all that is left of it.
func hears(session *agent.Session) bool {
	select {
	case <-session.Gone():
		return false
	default:
	}
	select {
	case <-session.Ready():
		return true
	default:
		return false
	}
}

// forwardSignals gives the command the signals that end programs; a second one ends the guest, and one while the run ends the program, whatever it waits for.
func forwardSignals(ctx context.Context, end context.CancelCauseFunc, session *agent.Session) (stop func()) {
	got := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) { // as nohup does
			signal.Notify(got, s)
		}
	}
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE) // a write to a closed pipe is an error like others
	go func() {
		defer signal.Stop(got)
		for n := 0; ; n++ {
			select {
			case s := <-got:
				sig := s.(syscall.Signal)
				if !hears(session) {
					n++
				}
				if n > 0 {
					end(&signalError{sig})
					return
				}
				go func() { _ = session.Signal(ctx, int(sig)) }()
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { signal.Stop(got); signal.Stop(pipe) }
}

// complete finds what flags leave out.
func (f *runFlags) complete() error {
	if f.rootfs == "" {
		return errors.New("--rootfs DIR|TAR is missing: the root file system that the command is in")
	}
	for _, e := range f.env {
		name, _, hasValue := strings.Cut(e, "=")
		if !hasValue {
			value, ok := os.LookupEnv(name)
			if !ok {
				continue
			}
			e = name + "=" + value
		}
		f.spec.Env = append(f.spec.Env, e)
	}
	onTerminal := term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
	f.spec.Terminal = f.terminal == terminalYes || f.terminal == terminalAuto && onTerminal
	if f.spec.Terminal {
		if cols, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
			f.spec.Size = agent.FormatSize(cols, rows)
		}
		if t := os.Getenv("TERM"); t != "" {
			f.spec.Env = append([]string{"TERM=" + t}, f.spec.Env...)
		}
	}
	if f.kernel == "" {
		var err error
		f.kernel, err = defaultKernel()
		return err
	}
	return nil
}

// newMachine makes the machine. The caller closes it, and after that what is behind its devices.
func (f *runFlags) newMachine(session *agent.Session, kernelSays io.Writer, end context.CancelCauseFunc) (_ *machine.Machine, _ *openDevices, err error) {
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	cfg := machine.Config{
		Memory: uint64(f.memory), CPUs: f.cpus, Cache: kernelCache(), Console: kernelSays,
		Cmdline: "console=ttyS0 panic=-1 retain_initrd rdinit=/" + agent.InitPath,
		Log:     slog.New(slog.NewTextHandler(logOutput(), &slog.HandlerOptions{Level: level})),
	}
	if !f.verbose {
		cfg.Cmdline += " quiet"
	}
	cfg.Cmdline = f.gdb.cmdline(cfg.Cmdline)
	cfg.Timeline = new(timing).start(f.trace.path != "")
	if err := f.trace.open(&cfg); err != nil {
		return nil, nil, err
	}
	device := virtioconsole.New(virtioconsole.Config{Out: session, Log: cfg.Log})
	session.Connect(device.Receive)
	cfg.Devices = append(cfg.Devices, rng.New(rng.Config{Log: cfg.Log}), device)
	open := new(openDevices)
	defer func() {
		if err != nil {
			open.close()
		}
	}()
	if err := f.openDevices(open, &cfg); err != nil {
		return nil, nil, err
	}
	if open.gdb, err = f.gdb.open(&cfg, end); err != nil {
		return nil, nil, err
	}
	initrd, err := f.initrd()
	if err != nil {
		return nil, nil, err
	}
	defer initrd.close()
	cfg.Initrd = initrd.bytes()
	if err := f.fits(uint64(len(cfg.Initrd))); err != nil {
		return nil, nil, err
	}
	// It has RAM of its own, which is for nothing else when it is unpacked: to take it for other things the kernel would fill it with a pattern.
	page := uint64(os.Getpagesize())
	cfg.Memory += (uint64(len(cfg.Initrd)) + page - 1) &^ (page - 1)
	boot := bootFlags{kernel: f.kernel}
	m, err := boot.newMachine(cfg)
	return m, open, err
}

// openDevices adds disks and the network to cfg, and what is behind them to open.
func (f *runFlags) openDevices(open *openDevices, cfg *machine.Config) (err error) {
	if open.disks, err = openDisks(f.disks); err != nil {
		return err
	}
	disks, err := blockDevices(open.disks, f.cpus, cfg.Log)
	if err != nil {
		return err
	}
	var nets []virtio.Device
	if f.net != "" {
		if nets, open.nets, err = openNetworks([]string{f.net}, f.cpus, cfg.Log); err != nil {
			return err
		}
		f.spec.Network = guestAddresses(open.nets[0])
	}
	cfg.Devices = slices.Concat(disks, nets, cfg.Devices)
	return nil
}
