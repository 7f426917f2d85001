package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"govmm/machine"
)

// bootFlags are the flags and arguments of govmm boot.
type bootFlags struct {
	memory    size
	cpus      int
	appended  string
	cmdline   string
	devices   deviceFlags
	debugExit bool
	transport machine.Transport
	direct    machine.Direct
	timing    timing
	trace     traceFlag
	sandbox   sandboxMode
	gdb       gdbFlags
	verbose   bool

	kernel, initrd string
}

func newBootCommand() *cobra.Command {
	f := bootFlags{memory: machine.DefaultMemory}
	c := &cobra.Command{
		Use:   "boot [flags] KERNEL [INITRD]",
		Short: "boot a Linux kernel and give its console",
		Long: `Boot KERNEL, a bzImage or an ELF vmlinux, with INITRD as its initial RAM disk, and join
its serial console to standard input and output.

On a terminal: Ctrl-A X ends the guest, Ctrl-A A sends Ctrl-A, Ctrl-A H shows help. Otherwise
standard input is fed to the guest as it comes, and its end does not end the guest. The guest
waits a minute for a reader of standard output who takes nothing; what it writes then is dropped.

` + statusHelp,
		Example: `  govmm boot /boot/vmlinuz-$(uname -r) initramfs.cpio
  govmm boot -m 1G -c 2 -d root.img -a "root=/dev/vda rw" vmlinuz
  govmm boot vmlinuz initramfs.cpio </dev/null | tee log`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return errors.New("boot takes KERNEL and, if there is one, INITRD; see govmm boot --help")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			f.kernel = args[0]
			if len(args) == 2 {
				f.initrd = args[1]
			}
			f.devices.hasBalloon = c.Flags().Changed("balloon")
			return f.run(c.Flags().Changed("cmdline"))
		},
	}
	flags := c.Flags()
	flags.VarP(&f.memory, "memory", "m", "guest memory, with a suffix of K, M or G")
	flags.IntVarP(&f.cpus, "cpus", "c", machine.DefaultCPUs, "number of virtual CPUs")
	flags.StringVarP(&f.appended, "append", "a", "", "`words` to add to the kernel's command line ("+machine.DefaultCmdline+")")
	flags.StringVar(&f.cmdline, "cmdline", "", "the kernel's whole command line, in place of the default")
	flags.StringArrayVarP(&f.devices.disks, "disk", "d", nil, "disk image, `PATH[,OPTION]...`: ro, cache=none (past the host's page cache) or writeback, rate=OPS:BYTES (a second), serial=TEXT; write a comma in PATH twice; repeat for more, in the guest's order")
	flags.StringArrayVarP(&f.devices.nets, "net", "n", nil, "network, `KIND[,OPTION]...`: user (no privilege needed; hostfwd=tcp:HOST:PORT-GUEST:PORT, mtu=N, restrict), tap=NAME (an existing tap; queues=N), tap (a new one, as root; bridge=NAME or else routed), fd=N (a tap's descriptor); mac=ADDRESS; repeat for more, in the guest's order")
	flags.Var(&f.devices.balloon, "balloon", "give the guest a memory balloon, by which memory that it frees goes back to the host; with `SIZE` ask it to do without that much")
	flags.Lookup("balloon").NoOptDefVal = "0"
	flags.BoolVar(&f.devices.rng, "rng", true, "give the guest random numbers of the host's")
	addChoice(c, &f.devices.console, "console", "KIND", "what standard input and output are joined with: the serial port, or a virtio console (hvc0), which follows the terminal's size",
		word[consoleKind]{"serial", serialConsole}, word[consoleKind]{"virtio", virtioConsole})
	flags.BoolVar(&f.debugExit, "debug-exit", false, "let the guest end the run by writing v to port 0xf4, with exit status (v<<1)|1; adds an 8254 timer too")
	addChoice(c, &f.transport, "transport", "HOW", "how the guest reaches its devices: pci, or mmio for small kernels that have no PCI",
		word[machine.Transport]{"pci", machine.PCI}, word[machine.Transport]{"mmio", machine.MMIO})
	addChoice(c, &f.direct, "direct", "WHEN", "who unpacks a bzImage's kernel: auto (this host, which is faster, where it can), always (or fail), never (the guest)",
		word[machine.Direct]{"auto", machine.DirectAuto}, word[machine.Direct]{"always", machine.DirectAlways}, word[machine.Direct]{"never", machine.DirectNever})
	addSandboxFlag(c, &f.sandbox)
	addGDBFlags(c, &f.gdb)
	flags.BoolVar(&f.timing.table, "timing", false, "say on standard error, when the run has ended, where its time went")
	flags.StringVar(&f.timing.json, "timing-json", "", "write the same to `FILE` as JSON")
	addTraceFlag(c, &f.trace)
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log what the monitor does to standard error")
	return c
}

// kernelCmdline is the command line that the flags make.
func (f *bootFlags) kernelCmdline(replaced bool) string {
	line := f.devices.console.cmdline()
	if replaced {
		line = f.cmdline
	}
	if f.appended != "" {
		line += " " + f.appended
	}
	line = f.gdb.cmdline(line)
	if line == "" {
		line = " " // machine.Config's word for an empty one
	}
	return line
}

// config makes the machine's configuration but for its images and devices.
func (f *bootFlags) config(replaced bool) (machine.Config, error) {
	if f.memory == 0 || f.cpus == 0 {
		// Zero means the default to machine.Config, but not to one who typed it.
		return machine.Config{}, fmt.Errorf("a machine needs memory and a CPU: --memory %s --cpus %d", &f.memory, f.cpus)
	}
	cfg := machine.Config{
		Memory: uint64(f.memory), CPUs: f.cpus,
		Transport: f.transport, Direct: f.direct, Cache: kernelCache(), Timeline: f.timing.start(f.trace.path != ""),
		Cmdline: f.kernelCmdline(replaced), DebugExit: f.debugExit,
		PIT: f.debugExit, // the kernels that use the port were written for that timer
	}
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	cfg.Log = slog.New(slog.NewTextHandler(logOutput(), &slog.HandlerOptions{Level: level}))
	return cfg, nil
}

// run boots the guest and returns when it has ended.
func (f *bootFlags) run(replaced bool) error {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	if err := stderr.during(ctx); err != nil {
		return err
	}
	if err := f.sandbox.prepare(); err != nil {
		return err
	}
	cfg, err := f.config(replaced)
	if err != nil {
		return err
	}
	if err := closeStrays(f.devices.nets); err != nil {
		return err
	}
	if err := f.timing.open(); err != nil {
		return err
	}
	defer f.timing.close()
	if err := f.trace.open(&cfg); err != nil {
		return err
	}
	defer f.trace.close()
	stop := endOnSignal(ctx, end)
	defer stop()

	out, err := newOutput(ctx, os.Stdout, end)
	if err != nil {
		return err
	}
	defer out.close()
	out.unread = mostUnread
	cfg.Console = out // of a guest with another console too: its kernel may have something to say before that works
	devices, err := f.devices.open(&cfg, out)
	defer devices.close()
	if err != nil {
		return err
	}
	gdb, err := f.gdb.open(&cfg, end)
	defer gdb.close()
	if err != nil {
		return err
	}
	m, err := f.newMachine(cfg)
	if err != nil {
		return err
	}
	defer m.Close()
	stderr.finishWith(m)

	con := openConsole(end, cfg.Log)
	defer con.restore()
	send := m.WriteConsole
	if devices.console != nil {
		send = devices.console.Receive
		followSize(ctx, devices.console.Resize)
	}
	if err := con.start(ctx, send); err != nil {
		return err
	}
	if _, err := f.sandbox.start(m, devices.nets, gdb); err != nil {
		return err
	}
	outcome, err := m.Run(ctx)
	gdb.finish(err)
	end(nil)      // no more input, before the machine is closed
	con.restore() // before any message
	if timingErr := f.timing.report(cfg.Timeline); err == nil {
		err = timingErr
	}
	if traceErr := f.trace.write(m); err == nil {
		err = traceErr
	}
	var bug *machine.PanicError
	if errors.As(err, &bug) {
		_, _ = stderr.Write(bug.Stack)
	}
	return runStatus(outcome, err)
}

// newMachine maps the images for as long as the machine is made from them.
func (f *bootFlags) newMachine(cfg machine.Config) (*machine.Machine, error) {
	kernel, err := openImage("kernel", f.kernel)
	if err != nil {
		return nil, err
	}
	defer kernel.close()
	cfg.Kernel, cfg.KernelFile = kernel.data, kernel.file
	if f.initrd != "" {
		initrd, err := openImage("initrd", f.initrd)
		if err != nil {
			return nil, err
		}
		defer initrd.close()
		cfg.Initrd, cfg.InitrdFile = initrd.data, initrd.file
	}
	m, err := machine.New(cfg)
	return m, f.explain(err)
}

// explain puts an error of the machine into the words of this command: its flags and files.
func (f *bootFlags) explain(err error) error {
	var (
		config *machine.ConfigError
		load   *machine.LoadError
	)
	switch {
	case errors.As(err, &config):
		flags := map[string]string{"Memory": "--memory", "CPUs": "--cpus", "Devices": "--disk", "Kernel": "KERNEL"}
		var faults []string
		for _, fault := range config.Faults {
			faults = append(faults, flags[fault.Field]+": "+fault.Fault)
		}
		return errors.New(strings.Join(faults, "; "))
	case errors.As(err, &load):
		return fmt.Errorf("%s: %w", f.kernel, load.Err)
	}
	return err
}

// endOnSignal has the signals that end programs end the run in order instead. SIGPIPE
// is caught so that a write to a closed pipe is an error like others.
func endOnSignal(ctx context.Context, end context.CancelCauseFunc) (stop func()) {
	ch := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) { // as nohup does
			signal.Notify(ch, s)
		}
	}
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		defer signal.Stop(ch) // one while the run ends ends the program, whatever it waits for
		select {
		case s := <-ch:
			end(&signalError{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return func() {
		signal.Stop(ch)
		signal.Stop(pipe)
	}
}
