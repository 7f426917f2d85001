package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"govmm/devices/virtio"
	"govmm/devices/virtio/balloon"
	virtioconsole "govmm/devices/virtio/console"
	"govmm/devices/virtio/rng"
	"govmm/machine"
)

// deviceFlags are the flags for devices of which a machine has one at most.
type deviceFlags struct {
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

func (k *consoleKind) Set(s string) error {
	switch s {
	case "serial":
		*k = serialConsole
	case "virtio":
		*k = virtioConsole
	default:
		return errors.New("give serial or virtio")
	}
	return nil
}

func (k *consoleKind) String() string {
	if *k == virtioConsole {
		return "virtio"
	}
	return "serial"
}

func (k *consoleKind) Type() string { return "KIND" }

// cmdline is the default command line with the console that the guest has.
func (k consoleKind) cmdline() string {
	if k == virtioConsole {
		return "console=hvc0 panic=-1"
	}
	return machine.DefaultCmdline
}

// single makes the devices of which there is one at most.
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

// newConsole returns a virtio console that prints to out.
func newConsole(out io.Writer, log *slog.Logger) *virtioconsole.Device {
	return virtioconsole.New(virtioconsole.Config{Out: out, Log: log})
}

// followSize tells the guest the size of the terminal whenever it changes, until ctx ends.
func followSize(ctx context.Context, c *virtioconsole.Device) {
	out := int(os.Stdout.Fd())
	if !term.IsTerminal(out) {
		return
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	context.AfterFunc(ctx, func() { signal.Stop(changed); close(changed) })
	resize := func() {
		if cols, rows, err := term.GetSize(out); err == nil {
			c.Resize(uint16(cols), uint16(rows))
		}
	}
	resize()
	go func() {
		for range changed {
			resize()
		}
	}()
}
