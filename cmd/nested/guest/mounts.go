package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"govmm/cmd/nested/wire"
)

// A mount is the arguments of mount(2), with the target relative to a root.
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

// systemMounts are what every root has.
var systemMounts = []mount{
	{"dev", "dev", "devtmpfs", unix.MS_NOSUID, ""},
	{"proc", "proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
}

// moreMounts are what programs expect besides.
var moreMounts = []mount{
	{"devpts", "dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"},
	{"shm", "dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, ""},
	{"run", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	{"cgroup2", "sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"debugfs", "sys/kernel/debug", "debugfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
}

// p9Options are the mount options of every file system of the host.
const p9Options = "trans=virtio,version=9p2000.L,msize=512000,"

// mountAll makes the mounts, and their directories where these do not exist.
func mountAll(root string, mounts []mount) error {
	for _, m := range mounts {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.fstype, target, err)
		}
	}
	return nil
}

// enterRoot makes the host's file system, under a layer of memory that takes
// all writes, the root of this process and of those it starts.
//
// /tmp stays the host's under that layer, because that is where "go run" and
// "go test" put the programs that one wants to run here.
func enterRoot() error {
	err := mountAll("/", []mount{
		{"layer", "layer", "tmpfs", 0, "mode=755,size=80%"},
		// Files of the host do not change during a run, or are not seen to.
		{wire.RootTag, "host", "9p", unix.MS_RDONLY, p9Options + "cache=loose"},
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"/layer/upper", "/layer/work", "/root"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	const layers = "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work"
	if err := unix.Mount("overlay", "/root", "overlay", 0, layers); err != nil {
		return fmt.Errorf("mounting overlay: %w", err)
	}
	if err := mountAll("/root", systemMounts); err != nil {
		return err
	}
	if err := mountAll("/root", moreMounts); err != nil {
		return err
	}
	// As switch_root does it: the root is then a mount of its own, which
	// pivot_root, and so container runtimes, ask for.
	if err := os.Chdir("/root"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return devLinks()
}

// devLinks makes the links in /dev that are user space's to make.
func devLinks() error {
	for name, target := range map[string]string{
		"/dev/fd":     "/proc/self/fd",
		"/dev/stdin":  "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1",
		"/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// mountShares mounts directories of the host read-write where they are.
func mountShares(dirs []string) error {
	for i, dir := range dirs {
		// cache=mmap writes through: nothing is left to write when the machine is killed.
		m := mount{wire.ShareTag(i), dir, "9p", 0, p9Options + "cache=mmap"}
		if err := mountAll("/", []mount{m}); err != nil {
			return err
		}
	}
	return nil
}
