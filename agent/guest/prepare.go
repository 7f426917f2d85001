package guest

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"govmm/agent"
)

// mounts are what programs expect of a Linux system beside its files.
var mounts = []struct {
	source, target, kind string
	flags                uintptr
	data                 string
}{
	{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	err := unix.Mount(source, target, kind, flags, data)
	if errors.Is(err, unix.EBUSY) {
		return nil // is there already
	}
	if err != nil {
		return &contextError{"mounting " + target, err}
	}
	return nil
}

// prepare makes the system around the command.
func prepare(spec *agent.Spec) error {
	for _, m := range mounts {
		// A kernel may have been built without one of them.
		if err := mount(m.source, m.target, m.kind, m.flags, m.data); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		_ = os.Symlink(target, "/dev/"+link)
	}
	if spec.Hostname != "" {
		if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
			return &contextError{"hostname", err}
		}
	}
	if err := setFlagsUp("lo"); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	if spec.Network != nil {
		return configure("eth0", spec.Network)
	}
	return nil
}

// configure gives an interface its address, and the system its route and its name server.
func configure(name string, n *agent.Network) error {
	address, err := netip.ParsePrefix(n.Address)
	if err != nil {
		return err
	}
	gateway, err := netip.ParseAddr(n.Gateway)
	if err != nil {
		return err
	}
	if err := setAddress(name, address); err != nil {
		return err
	}
	if err := setFlagsUp(name); err != nil {
		return err
	}
	if err := addDefaultRoute(gateway); err != nil {
		return err
	}
	if n.DNS == "" {
		return nil // the root file system's own
	}
	return writeResolvConf(n.DNS)
}

// writeResolvConf names the server where the root file system does not lead elsewhere.
func writeResolvConf(server string) error {
	const path = "/etc/resolv.conf"
	if target, err := os.Readlink(path); err == nil {
		if !strings.HasPrefix(target, "/") {
			target = filepath.Join(filepath.Dir(path), target)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
	} else if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte("nameserver "+server+"\n"), 0o644)
}
