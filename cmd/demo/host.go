package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hostInfo is what the guest's guestinfo tells, of the host.
func hostInfo() map[string]string {
	info := map[string]string{
		"cpus":        strconv.Itoa(runtime.NumCPU()),
		"memory":      memTotal(),
		"clocksource": firstLine("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		info["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	return info
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// memTotal is the first figure of /proc/meminfo, in bytes.
func memTotal() string {
	f := strings.Fields(firstLine("/proc/meminfo"))
	if len(f) < 2 {
		return ""
	}
	kib, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(kib<<10, 10)
}
