package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"govmm/machine/guesttest"
)

// cmdline is every guest's, if nothing is added.
const cmdline = "console=ttyS0 panic=-1 quiet"

// bootLimit is how long a guest may take, by whichever clock there is.
const bootLimit = 3 * time.Minute

// guest is what a monitor is told to run.
type guest struct {
	kernel, initrd string
	memory         string // with a suffix that both monitors know
	cpus           int
	cmdline        string
}

// guest has the usual values.
func (b *bench) guest(kernel string) guest {
	return guest{kernel: kernel, initrd: b.initrd, memory: "256M", cpus: 1, cmdline: cmdline}
}

// govmmCommand boots g under govmm.
func (b *bench) govmmCommand(g guest, flags ...string) []string {
	args := []string{b.govmm, "boot", "-m", g.memory, "-c", fmt.Sprint(g.cpus), "--cmdline", g.cmdline}
	return append(append(args, flags...), g.kernel, g.initrd)
}

// qemuCommand boots g under the microvm of QEMU, on KVM.
func (b *bench) qemuCommand(g guest) []string { return b.qemuOf("microvm", g) }

// qemuOf boots g under one of QEMU's machines.
func (b *bench) qemuOf(machine string, g guest, flags ...string) []string {
	args := []string{
		b.qemu, "-M", machine, "-enable-kvm", "-cpu", "host", "-m", g.memory, "-smp", fmt.Sprint(g.cpus), "-nodefaults", "-no-user-config",
		"-nographic", "-no-reboot", "-serial", "stdio", "-kernel", g.kernel, "-initrd", g.initrd, "-append", g.cmdline,
	}
	return append(args, flags...)
}

// warmCache is the variable that has govmm keep unpacked kernels beside the files that are measured.
func (b *bench) warmCache() []string { return []string{"XDG_CACHE_HOME=" + b.files.path("cache")} }

// boot starts a monitor, waits for init's line, calls look, if there is one, and ends the monitor. It returns the time
// from exec to the line.
func boot(command, env []string, look func(pid int) error) (time.Duration, error) {
	c := exec.Command(command[0], command[1:]...)
	c.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := c.Start(); err != nil {
		return 0, err
	}
	limit := time.AfterFunc(bootLimit, func() { c.Process.Kill() })
	took, seen, err := waitForInit(bufio.NewScanner(out), start)
	if err == nil && look != nil {
		err = look(c.Process.Pid)
	}
	late := !limit.Stop()
	c.Process.Kill()
	c.Wait() // killed
	switch {
	case errors.Is(err, errNoInit) && late:
		return 0, fmt.Errorf("init did not speak within %v:\n%s", bootLimit, seen)
	case errors.Is(err, errNoInit):
		return 0, fmt.Errorf("%w:\n%s%s", err, seen, &stderr)
	}
	return took, err
}

var errNoInit = errors.New("the monitor ended before init spoke")

// waitForInit reads a console until init's line and returns when that came, and what came before.
func waitForInit(lines *bufio.Scanner, start time.Time) (took time.Duration, seen string, err error) {
	var before strings.Builder
	for lines.Scan() {
		if strings.Contains(lines.Text(), strings.TrimSpace(guesttest.InitLine)) {
			return time.Since(start), before.String(), nil
		}
		fmt.Fprintln(&before, lines.Text())
	}
	return 0, before.String(), errNoInit
}
