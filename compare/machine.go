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

	"govmm/compare/probe"
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

// Hypervisors' names in CPUID.
const (
	kvmVendor  = "KVMKVMKVM" // Documentation/virt/kvm/x86/cpuid.rst
	qemuVendor = "TCGTCGTCGTCG"
)

// notes says what distorts figures on a host.
func notes(host *probe.Facts) []string {
	switch host.Hypervisor {
	case "":
		return nil
	case qemuVendor:
		return []string{"This host is emulated by QEMU, and so is its virtualization. An instruction takes many times what it takes on hardware, and leaving a guest for its monitor takes longer still, " +
			"so that times say nothing of hardware, and ratios of a virtual machine to a container or to the host come out worse than on hardware. Memory, sizes and facts are what they are anywhere."}
	}
	return []string{"This host is itself a virtual machine (" + host.Hypervisor + "). Leaving a guest for its monitor costs more than on hardware, and so does everything that guests do by their devices."}
}

// A fileID is a file, whatever its names.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st := info.Sys().(*syscall.Stat_t)
	return fileID{st.Dev, st.Ino}
}
