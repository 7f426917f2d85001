package probe

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sectorBytes turns a number of sectors, which are 512 bytes in all of the kernel's files, into bytes.
func sectorBytes(sectors string) string {
	n, _ := strconv.ParseUint(sectors, 10, 54)
	return strconv.FormatUint(n*512, 10)
}

// capabilityNames are those of linux/capability.h by their numbers.
var capabilityNames = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW
	IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE
	AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// capabilities names those of a mask in hexadecimal digits.
func capabilities(mask string) []string {
	list := []string{}
	bits, _ := strconv.ParseUint(mask, 16, 64)
	for i := range 64 {
		switch {
		case bits>>i&1 == 0:
		case i < len(capabilityNames):
			list = append(list, "CAP_"+capabilityNames[i])
		default:
			list = append(list, fmt.Sprintf("CAP_%d", i))
		}
	}
	return list
}

// mounts reads mountinfo (proc(5)): six fields, optional ones, a hyphen, and then the type, the source and the file system's own options.
func mounts(text string) []Mount {
	list := []Mount{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		sep := slices.Index(f, "-")
		if sep < 6 || len(f) < sep+4 || len(list) == MaxList {
			continue
		}
		list = append(list, Mount{Target: short(unescape(f[4])), Type: short(f[sep+1]), ReadOnly: hasOption(f[5], "ro") || hasOption(f[sep+3], "ro")})
	}
	return list
}

func hasOption(options, name string) bool { return slices.Contains(strings.Split(options, ","), name) }

// unescape undoes the octal numbers that the kernel writes for space and its like.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

const cgroupRoot = "/sys/fs/cgroup"

// cgroup finds the limits of the process's group, in either version of cgroups.
func cgroup() Cgroup {
	lines := content("/proc/self/cgroup")
	c := Cgroup{
		PidsMax:   limit(lines, "pids", "pids.max", "pids.max"),
		MemoryMax: limit(lines, "memory", "memory.max", "memory.limit_in_bytes"),
		CPUMax:    limit(lines, "cpu", "cpu.max", ""),
	}
	quota := limit(lines, "cpu", "", "cpu.cfs_quota_us")
	if c.CPUMax == "" && quota != "" {
		c.CPUMax = strings.Replace(quota, "-1", "max", 1) + " " + limit(lines, "cpu", "", "cpu.cfs_period_us")
	}
	return c
}

// limit reads a limit, whose file is new in version 2 and old in version 1. A line of /proc/self/cgroup is "0::PATH" in version 2, "NUMBER:CONTROLLERS:PATH" in version 1.
func limit(lines, controller, newFile, oldFile string) string {
	for line := range strings.Lines(lines) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dirs, file := []string{cgroupRoot, filepath.Join(cgroupRoot, "unified")}, newFile
		if parts[1] != "" {
			dirs, file = []string{filepath.Join(cgroupRoot, parts[1]), filepath.Join(cgroupRoot, controller)}, oldFile
			if !hasOption(parts[1], controller) {
				continue
			}
		}
		if value := limitIn(dirs, parts[2], file); value != "" {
			return value
		}
	}
	return ""
}

// limitIn looks in a group, and where the group's own path is not visible, as in a container, in the root that is.
func limitIn(dirs []string, group, file string) string {
	if file == "" {
		return ""
	}
	for _, dir := range dirs {
		for _, in := range []string{filepath.Join(dir, group), dir} {
			if value := content(filepath.Join(in, file)); value != "" {
				return short(value)
			}
		}
	}
	return ""
}
