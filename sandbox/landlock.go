package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Rights to files (landlock(7)): those of the first version of the interface, and those that came with later ones.
const (
	firstRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM

	// networkSince is the version in which TCP can be forbidden, scopeSince that in which abstract sockets of others can.
	networkSince = 4
	scopeSince   = 6
)

// laterRights are the rights to files by the version that they came with.
var laterRights = []struct {
	version int
	right   uint64
}{
	{2, unix.LANDLOCK_ACCESS_FS_REFER},
	{3, unix.LANDLOCK_ACCESS_FS_TRUNCATE},
	{5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
}

func landlockLayer() Layer {
	l := Layer{Name: "landlock"}
	version, err := landlockVersion()
	switch {
	case err == nil:
		l.Have, l.Detail = true, fmt.Sprintf("version %d: %s", version, forbids(version))
	case errors.Is(err, unix.EOPNOTSUPP):
		l.Detail, l.Remedy = "built into the kernel, but not turned on", "add landlock to lsm= on the host kernel's command line"
	case errors.Is(err, unix.ENOSYS):
		l.Detail, l.Remedy = "not in this kernel", "a host kernel of Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK"
	default: // a container that forbids it
		l.Detail, l.Remedy = err.Error(), "let the container that this runs in use Landlock"
	}
	return l
}

// forbids says what a version can forbid. What older ones cannot is not lost: seccomp has the same.
func forbids(version int) string {
	switch {
	case version < networkSince:
		return "no file can be opened; TCP and the abstract sockets of others are left to seccomp"
	case version < scopeSince:
		return "no file can be opened, and no TCP without --net user; the abstract sockets of others are left to seccomp"
	}
	return "no file can be opened, no abstract sockets of others, and no TCP without --net user"
}

// ruleset is what is forbidden where no rule allows it.
func ruleset(version int, p Policy) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: firstRights}
	for _, later := range laterRights {
		if version >= later.version {
			attr.Handled_access_fs |= later.right
		}
	}
	if version >= networkSince && p.Sockets < NewSockets {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= scopeSince {
		// Not signals: the list of system calls has only those to threads of this process, and kernels
		// before 6.15 take threads that were restricted one after the other for strangers.
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	return attr
}

// restrictFiles forbids all threads to open files, but for those that p names.
func restrictFiles(p Policy) error {
	version, err := landlockVersion()
	if err != nil {
		return err
	}
	rules, err := createRuleset(ruleset(version, p))
	if err != nil {
		return err
	}
	defer unix.Close(rules)
	for _, path := range p.Readable {
		if err := allowReading(rules, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return onAllThreads("restrict", unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0)
}

func allowReading(rules int, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// READ_DIR is a right to directories only.
	return addPathRule(rules, fd, unix.LANDLOCK_ACCESS_FS_READ_FILE)
}
