package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"govmm/devices/virtio"
	"govmm/devices/virtio/balloon"
	virtioconsole "govmm/devices/virtio/console"
	"govmm/devices/virtio/rng"
	"govmm/machine"
)

// deviceFlags are the flags for devices.
type deviceFlags struct {
	disks      []string
	nets       []string
	rng        bool
	balloon    size
	hasBalloon bool
	console    consoleKind
}

// consoleKind is the value of --console: what standard input and output are joined with.
type consoleKind int

const (
	serialConsole consoleKind = iota
	virtioConsole
)

// cmdline is the default command line with the console that the guest has.
func (k consoleKind) cmdline() string {
	if k == virtioConsole {
		return "console=hvc0 panic=-1"
	}
	return machine.DefaultCmdline
}

// openDevices are a guest's devices with what is behind them.
type openDevices struct {
	disks   []openDisk
	nets    []backend
	console *virtioconsole.Device // nil if the serial port is the console
	gdb     *gdbServer            // of govmm run; nil without --gdb
}

// open makes the devices and adds them to cfg: disks, networks, and what there is one of. The caller closes what it gives, also together
// with an error.
func (f *deviceFlags) open(cfg *machine.Config, out io.Writer) (o *openDevices, err error) {
	o = new(openDevices)
	if o.disks, err = openDisks(f.disks); err != nil {
		return o, err
	}
	disks, err := blockDevices(o.disks, cfg.CPUs, cfg.Log)
	if err != nil {
		return o, err
	}
	nets, open, err := openNetworks(f.nets, cfg.CPUs, cfg.Log)
	o.nets = open
	if err != nil {
		return o, err
	}
	single, err := f.single(cfg.Memory, cfg.Log)
	if err != nil {
		return o, err
	}
	cfg.Devices = slices.Concat(disks, nets, single)
	if f.console == virtioConsole {
		o.console = virtioconsole.New(virtioconsole.Config{Out: out, Log: cfg.Log})
		cfg.Devices = append(cfg.Devices, o.console)
	}
	return o, nil
}

// close closes what is behind the devices of a machine that is closed.
func (o *openDevices) close() {
	for _, d := range o.disks {
		warn(d.Close())
	}
	for _, n := range o.nets {
		warn(n.Close())
	}
	o.gdb.close()
}

// warn tells of an error that changes nothing any more.
func warn(err error) {
	if err != nil {
		fmt.Fprintln(stderr, "govmm:", err)
	}
}

// single makes the random numbers and the balloon.
func (f *deviceFlags) single(memory uint64, log *slog.Logger) ([]virtio.Device, error) {
	var devs []virtio.Device
	if f.rng {
		devs = append(devs, rng.New(rng.Config{Log: log}))
	}
	if f.hasBalloon {
		if uint64(f.balloon) > memory {
			return nil, fmt.Errorf("--balloon: %s are more than the guest's memory of %s", &f.balloon, (*size)(&memory))
		}
		b := balloon.New(balloon.Config{Log: log})
		if err := b.SetTarget(uint64(f.balloon)); err != nil {
			return nil, fmt.Errorf("--balloon: %w", err)
		}
		devs = append(devs, b)
	}
	return devs, nil
}

// followSize tells the guest, by tell, the size of the terminal, now and whenever it changes, until ctx ends.
func followSize(ctx context.Context, tell func(cols, rows uint16)) {
	out := int(os.Stdout.Fd())
	if !term.IsTerminal(out) {
		return
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	context.AfterFunc(ctx, func() { signal.Stop(changed); close(changed) })
	go func() {
		for more := true; more; _, more = <-changed {
			if cols, rows, err := term.GetSize(out); err == nil {
				tell(uint16(cols), uint16(rows))
			}
		}
	}()
}
