package compare

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"govmm/compare/report"
)

// describeHost says what machine this is.
func describeHost() (report.Host, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return report.Host{}, os.NewSyscallError("uname", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return report.Host{}, os.NewSyscallError("sysinfo", err)
	}
	return report.Host{Kernel: unix.ByteSliceToString(name.Release[:]), CPU: cpuModel(), CPUs: runtime.NumCPU(), Memory: int64(info.Totalram) * int64(info.Unit)}, nil
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// notes says what distorts figures on this host.
func notes() []string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	var list []string
	if strings.Contains(cpuModel(), "QEMU") {
		list = append(list, "This host is emulated by QEMU, its virtualization too. Every instruction takes many times what it takes on hardware, those at which a virtual machine exits to its monitor most of all: "+
			"times say nothing of hardware, and ratios between a virtual machine and a container are worse for the former than on hardware. Memory and facts are as they are anywhere.")
	} else if bytes.Contains(text, []byte(" hypervisor")) {
		list = append(list, "This host is itself a virtual machine. Exits of its guests cost more than on hardware.")
	}
	return list
}

// A fileID is a file, whatever its names.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st := info.Sys().(*syscall.Stat_t)
	return fileID{st.Dev, st.Ino}
}
