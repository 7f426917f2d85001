package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// nowhere is a directory of every process's that has no files but small ones to read, and into which nothing can be put.
const nowhere = "/proc/self/fdinfo"

// leaveRoot makes a directory the root of all paths, for all threads, that has nothing but what p names. Where that cannot be had, the root directory
// stays, and the layer is given that is missing. It is called before Landlock, which forbids mounts.
func leaveRoot(p Policy, have capabilitySet) (missing []Layer, err error) {
	switch {
	case !have.effective(unix.CAP_SYS_CHROOT):
		if have.any() {
			return []Layer{noChroot}, nil
		}
		return nil, nil // the missing layer is the namespaces
	case len(p.Readable) == 0:
		if err := unix.Chroot(nowhere); err != nil {
			return []Layer{nowhereStays(err)}, nil
		}
	case entered.step < entryMount:
		return nil, nil // the missing layer is the namespaces
	default:
		if err := makeRoot(p); err != nil {
			return []Layer{rootStays("one for --net user", err)}, nil
		}
	}
	if err := unix.Chdir("/"); err != nil {
		return nil, fmt.Errorf("the root directory: %w", err)
	}
	return nil, nil
}

// noChroot is the layer of a process that has privileges, but not that one.
var noChroot = Layer{Name: "root directory", Detail: "there are privileges, but not CAP_SYS_CHROOT", Remedy: chrootRemedy}

const chrootRemedy = "let the container that this runs in use chroot, or run govmm without privileges"

// nowhereStays is the layer where it is missing because there is no /proc, or in a container that forbids chroot.
func nowhereStays(err error) Layer {
	if errors.Is(err, unix.ENOENT) {
		return Layer{Name: "root directory", Detail: "there is no " + nowhere, Remedy: "mount /proc"}
	}
	return rootStays("chroot to "+nowhere, err)
}

// rootStays is the layer where it is missing.
func rootStays(what string, err error) Layer {
	l := Layer{Name: "root directory", Detail: what + ": " + err.Error(), Remedy: chrootRemedy}
	if errors.Is(err, unix.ENOSYS) {
		l.Remedy = "a host kernel of Linux 5.12 or later"
	}
	return l
}

// makeRoot makes a file system in memory with the files and directories of p at their places, read-only, and makes it the root. Other processes of this mount
// namespace do not see it: it lies over their root directory.
func makeRoot(p Policy) error {
	// Mounts of ours do not become the host's. Nothing may be mounted before.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	root, err := emptyRoot()
	if err != nil {
		return err
	}
	defer unix.Close(root)
	for _, name := range p.Readable {
		if err := show(root, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, target := range p.Links {
		if err := link(root, name, target); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := unix.MountSetattr(root, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	return unix.Chroot(".")
}

// emptyRoot mounts an empty file system, and gives its directory.
func emptyRoot() (fd int, err error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	for key, value := range map[string]string{"size": "64k", "nr_inodes": "32", "mode": "755"} {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return 0, fmt.Errorf("%s=%s: %w", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return 0, fmt.Errorf("tmpfs: %w", err)
	}
	fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return 0, fmt.Errorf("fsmount: %w", err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return 0, errors.Join(fmt.Errorf("move_mount: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// show has a file or directory, with all that is mounted below it, appear at its place in the new root. What is not there does not.
func show(root int, name string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	place := relative(name)
	if err := makePlace(root, place, tree); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", root, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// makePlace makes what a mount can cover: a directory for a directory, and a file for any other thing.
func makePlace(root int, place string, tree int) error {
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return makeDirs(root, place)
	}
	if err := makeDirs(root, path.Dir(place)); err != nil {
		return err
	}
	return unix.Mknodat(root, place, unix.S_IFREG|0o444, 0)
}

// link makes a symbolic link.
func link(root int, name, target string) error {
	place := relative(name)
	if err := makeDirs(root, path.Dir(place)); err != nil {
		return err
	}
	return unix.Symlinkat(target, root, place)
}

// makeDirs makes a directory and those above it.
func makeDirs(root int, dir string) error {
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		if err := unix.Mkdirat(root, dir[:i], 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

// relative is a path from the root directory.
func relative(name string) string { return strings.TrimPrefix(path.Clean(name), "/") }
