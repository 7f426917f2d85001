package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var mounts = []struct {
	source, target, fstype, options string
	flags                           uintptr
}{
	{"devtmpfs", "/dev", "devtmpfs", "mode=0755", unix.MS_NOSUID},
	{"devpts", "/dev/pts", "devpts", "ptmxmode=666,mode=620", unix.MS_NOSUID | unix.MS_NOEXEC},
	{"proc", "/proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"sysfs", "/sys", "sysfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"tmpfs", "/tmp", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	{"tmpfs", "/run", "tmpfs", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
}

var deviceLinks = map[string]string{
	"/dev/fd":     "/proc/self/fd",
	"/dev/stdin":  "/proc/self/fd/0",
	"/dev/stdout": "/proc/self/fd/1",
	"/dev/stderr": "/proc/self/fd/2",
}

func mountAll() (errs []error) {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.options); err != nil {
			errs = append(errs, &os.PathError{Op: "mount", Path: m.target, Err: err})
		}
	}
	for link, target := range deviceLinks {
		if err := os.Symlink(target, link); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// moduleList names the file that has, on a line each and in the order of loading, the files with the modules
// beside it. mkinitramfs writes it.
const moduleList = "modules.load"

func loadModules() (errs []error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return []error{os.NewSyscallError("uname", err)}
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	list, err := os.ReadFile(filepath.Join(dir, moduleList))
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel that has everything built in, as far as we know
	}
	if err != nil {
		return []error{err}
	}
	for _, name := range strings.Fields(string(list)) {
		if err := loadModule(filepath.Join(dir, name)); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "load", Path: file, Err: err}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.ENOSYS) {
		return nil // a kernel without a network
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// setHostname gives the guest a name, unless the kernel's command line did (hostname=).
func setHostname() error {
	if name, err := os.Hostname(); err != nil || name != "(none)" {
		return err
	}
	return os.NewSyscallError("sethostname", unix.Sethostname([]byte("govmm")))
}

// consoleLevel lets warnings and worse through.
const consoleLevel = 5

// quietConsole keeps the kernel's remarks out of what programs print from now on.
func quietConsole() error {
	const file = "/proc/sys/kernel/printk"
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	current, _, _ := strings.Cut(string(data), "\t")
	if level, err := strconv.Atoi(current); err != nil || level <= consoleLevel {
		return err
	}
	return os.WriteFile(file, fmt.Appendln(nil, consoleLevel), 0)
}

// openConsole opens the terminal behind /dev/console, because /dev/console itself cannot be a controlling terminal.
// Without a console it returns nil.
func openConsole() (*os.File, error) {
	active, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return nil, err
	}
	consoles := bytes.Fields(active)
	if len(consoles) == 0 {
		return nil, nil
	}
	// The last one is that of /dev/console.
	name := string(consoles[len(consoles)-1])
	// Blocking, so that the programs which share the open file see nothing unusual.
	fd, err := unix.Open(filepath.Join("/dev", name), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/" + name, Err: err}
	}
	tty := os.NewFile(uintptr(fd), "/dev/"+name)
	setSize(fd)
	return tty, nil
}

// setSize gives a serial line, which does not know how large the screen at its other end is, the usual size.
func setSize(fd int) {
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || size.Row != 0 || size.Col != 0 {
		return
	}
	// It matters to the line editor only.
	_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
}

// isScreen tells whether tty is one of the screen's terminals, /dev/tty0 and so on.
func isScreen(tty *os.File) bool {
	if tty == nil {
		return false
	}
	number, ok := strings.CutPrefix(tty.Name(), "/dev/tty")
	_, err := strconv.Atoi(number)
	return ok && err == nil
}
