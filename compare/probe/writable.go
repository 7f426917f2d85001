package probe

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sensitive are files by which the kernel or the machine is changed.
var sensitive = []string{
	"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/panic", "/proc/sys/vm/drop_caches",
	"/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/cgroup.procs",
	"/dev/mem", "/dev/kmsg", "/dev/kvm",
}

// mayWrite says whether this process may write a file: permissions, read-only mounts and security modules included.
func mayWrite(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil
}

func writable() []string {
	var list []string
	for _, path := range sensitive {
		if mayWrite(path) {
			list = append(list, path)
		}
	}
	return list
}

// mostFiles bounds how many files of /proc/sys and /sys are looked at.
const mostFiles = 20_000

// countWritable counts the files in /proc/sys and /sys that this process may write.
func countWritable() int {
	count, seen := 0, 0
	for _, dir := range []string{"/proc/sys", "/sys"} {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // what cannot be seen cannot be written
			}
			if seen++; seen > mostFiles {
				return fs.SkipAll
			}
			if d.Type().IsRegular() && mayWrite(path) {
				count++
			}
			return nil
		})
	}
	return count
}
