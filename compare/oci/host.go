package oci

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupMount is where the hierarchies of control groups are.
const cgroupMount = "/sys/fs/cgroup"

func hasCgroups() bool {
	found, _ := filepath.Glob(cgroupMount + "/*") // the pattern is right
	return len(found) > 0
}

// rootIsInitramfs says whether this process's root is the first file system of the kernel, which cannot be replaced.
func rootIsInitramfs() bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	root := false
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 4 && fields[4] == "/" {
			root = true
			_, rest, _ := strings.Cut(s.Text(), " - ")
			if strings.HasPrefix(rest, "rootfs ") {
				return true
			}
		}
	}
	// After chroot(2) the root is no mount at all.
	return !root
}

// cgroupDirs gives the container's directories in each hierarchy, whether they are there or not.
func (c *Container) cgroupDirs() []string {
	dirs := []string{filepath.Join(cgroupMount, c.cgroup)}
	hierarchies, _ := filepath.Glob(cgroupMount + "/*/tasks") // version 1
	for _, h := range hierarchies {
		dirs = append(dirs, filepath.Join(filepath.Dir(h), c.cgroup))
	}
	return append(dirs, filepath.Join(cgroupMount, "unified", c.cgroup))
}

func (c *Container) hasCgroup() bool {
	for _, dir := range c.cgroupDirs() {
		if _, err := os.Lstat(dir); err == nil {
			return true
		}
	}
	return false
}

// removeCgroups removes the container's control groups, and those below.
func (c *Container) removeCgroups(ctx context.Context) error {
	var failed error
	for _, dir := range c.cgroupDirs() {
		failed = errors.Join(failed, removeCgroup(ctx, dir))
	}
	return failed
}

func removeCgroup(ctx context.Context, dir string) error {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if errors.Is(err, os.ErrNotExist) && len(all) == 0 {
		return nil
	}
	slices.Reverse(all) // those below first
	for _, path := range all {
		for {
			err := unix.Rmdir(path)
			if err == unix.EBUSY { // its last process is not quite gone
				if err := wait(ctx); err != nil {
					return err
				}
				continue
			}
			if err != nil && err != unix.ENOENT {
				return &os.PathError{Op: "rmdir", Path: path, Err: err}
			}
			break
		}
	}
	return nil
}

// unescape gives names as they were before mountinfo changed what divides its fields.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unmountBelow removes what is mounted below a directory, as a runtime without a mount namespace of its own may leave it.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var targets []string
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 4 && strings.HasPrefix(unescape.Replace(fields[4]), dir+"/") {
			targets = append(targets, unescape.Replace(fields[4]))
		}
	}
	slices.Reverse(targets)
	for _, t := range targets {
		if err := unix.Unmount(t, unix.MNT_DETACH); err != nil && err != syscall.EINVAL {
			return &os.PathError{Op: "umount", Path: t, Err: err}
		}
	}
	return nil
}
