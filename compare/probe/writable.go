package probe

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxWalk bounds the files that a walk looks at.
const maxWalk = 200_000

// kernelInterfaces are files by which a process can change the kernel, or the machine, for everyone.
var kernelInterfaces = []string{
	"/proc/sysrq-trigger", "/dev/mem", "/dev/port", "/dev/kmsg", "/dev/kvm", "/dev/cpu/*/msr", "/proc/kcore", "/proc/irq/default_smp_affinity",
	"/sys/power/state", "/sys/bus/pci/rescan", "/sys/firmware/acpi/*", "/sys/firmware/efi/*", "/sys/devices/system/cpu/cpu*/online",
	"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.subtree_control", "/sys/fs/cgroup/*/cgroup.procs", "/sys/fs/cgroup/*/release_agent",
	"/sys/kernel/*", "/sys/kernel/mm/*/*", "/sys/kernel/debug/*", "/sys/kernel/security/*", "/proc/sys/kernel/*", "/proc/sys/vm/*",
}

const maxWritable = 512 // names that are listed

// writable gives those of kernelInterfaces that this process could write. It writes none.
func writable() []string {
	list := []string{}
	for _, pattern := range kernelInterfaces {
		found, _ := filepath.Glob(pattern)
		for _, name := range found {
			if len(list) < maxWritable && canWrite(name) {
				list = append(list, short(name))
			}
		}
	}
	return list
}

// canWrite says whether a file could be written. access(2) knows of read-only mounts; it grants root any file, but sysfs and /proc/sys do not when the file has no permission for it.
// Of devices only opening tells, because control groups forbid them there.
func canWrite(name string) bool {
	var st unix.Stat_t
	if unix.Lstat(name, &st) != nil || st.Mode&0o222 == 0 || unix.Access(name, unix.W_OK) != nil {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return true
	case unix.S_IFCHR:
		return canOpen(name)
	}
	return false
}

func canOpen(name string) bool {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// tracing is a directory on which the kernel mounts a file system when somebody looks into it, which would then stay mounted. The same is in /sys/kernel/tracing.
const tracing = "/sys/kernel/debug/tracing"

// countWritable counts the files below some directories that this process could write.
func countWritable(dirs ...string) (n int) {
	left := maxWalk
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if left--; left < 0 {
				return fs.SkipAll
			}
			if name == tracing {
				return fs.SkipDir
			}
			if err == nil && e.Type().IsRegular() && canWrite(name) {
				n++
			}
			return nil
		})
	}
	return n
}
