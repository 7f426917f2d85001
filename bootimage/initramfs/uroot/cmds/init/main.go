// Command init is the guest's first process. It mounts the kernel's file systems, loads the kernel modules that the archive
// has for the running kernel, and then runs one of these, the first that is there:
//
//   - the shell command that follows " -- " on the kernel's command line;
//   - the file /etc/govmm/start;
//   - an interactive shell on the console.
//
// When that ends, init writes what is in memory to the disks and powers the machine off. A failure is told on the
// console as "init: " and the reason, the exit status of a command that failed among them.
//
// At its start init writes a byte of 1 to I/O port 0x690, where a monitor that wants to know when that was
// listens (govmm boot --timing). Nothing else on a PC has that port.
//
// Settings of the kernel's command line without a dot in their name, such as NAME=value, are environment variables of
// all that runs; this is the kernel's doing. TERM is dumb unless it is set there, or the console is the screen: it
// chooses between the shell's plain mode and its line editor.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	startFile = "/etc/govmm/start"
	shell     = "/bin/sh"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: not the first process")
		os.Exit(1)
	}
	unix.Umask(0)
	complain(mountAll()...)
	unix.Umask(0o022)
	complain(markStart())
	complain(loadModules()...)
	complain(loopbackUp(), setHostname(), quietConsole())

	tty, err := openConsole()
	complain(err)
	setEnvironment(tty)
	cmdline, err := os.ReadFile("/proc/cmdline")
	complain(err)
	complain(run(chooseCommand(string(cmdline)), tty))

	unix.Sync()
	complain(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	// The kernel panics when its first process ends, which tells more than a machine that stands still.
	os.Exit(1)
}

// complain prints errors. None of them is a reason to stop: what works without, works.
func complain(errs ...error) {
	for _, err := range errs {
		if err != nil {
			fmt.Fprintln(os.Stderr, "init:", err)
		}
	}
}

// chooseCommand gives the arguments of what is to run.
func chooseCommand(cmdline string) []string {
	if _, command, ok := strings.Cut(" "+strings.TrimSpace(cmdline)+" ", " -- "); ok && strings.TrimSpace(command) != "" {
		return []string{shell, "-c", strings.TrimSpace(command)}
	}
	if info, err := os.Stat(startFile); err == nil && info.Mode()&0o111 != 0 {
		return []string{startFile}
	}
	return []string{shell}
}

func setEnvironment(tty *os.File) {
	os.Setenv("PATH", "/bin:/sbin:/bbin")
	os.Setenv("HOME", "/root")
	os.Setenv("USER", "root")
	// Without a setting, the kernel says "linux" whatever its console is. That is true of the screen's terminals alone.
	if os.Getenv("TERM") == "linux" && !isScreen(tty) {
		os.Setenv("TERM", "dumb")
	}
}

// run starts a command on the terminal and collects every process that ends, until it is that one.
func run(args []string, tty *os.File) error {
	attr := &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &unix.SysProcAttr{Setsid: true},
	}
	if tty != nil {
		attr.Files = []*os.File{tty, tty, tty}
		attr.Sys.Setctty = true
	}
	p, err := os.StartProcess(args[0], args, attr)
	if errors.Is(err, unix.ENOEXEC) {
		// A script without a first line that names its interpreter.
		args = append([]string{shell}, args...)
		p, err = os.StartProcess(args[0], args, attr)
	}
	if err != nil {
		return err
	}
	status, err := reapUntil(p.Pid)
	if err != nil {
		return err
	}
	switch {
	case status.Signaled():
		return fmt.Errorf("%s: %v", args[0], status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("%s: exit status %d", args[0], status.ExitStatus())
	}
	return nil
}

func reapUntil(pid int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, os.NewSyscallError("wait4", err)
		case got == pid:
			return status, nil
		}
	}
}
