package probe

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// MaxList is the most entries of any list of what is seen.
const MaxList = 64

const (
	maxString = 256     // bytes of any string
	maxFile   = 1 << 20 // bytes that are read of any file
)

func factsCommand(args []string, out io.Writer) error {
	if len(args) > 0 {
		return errors.New("takes no arguments")
	}
	return say(out, Look())
}

// Look gathers the facts.
func Look() Facts {
	status := fields("/proc/self/status")
	f := Facts{
		Kernel:        kernel(),
		CPUs:          countRange(content("/sys/devices/system/cpu/online")),
		CPUsAllowed:   runtime.NumCPU(),
		CPUModel:      fields("/proc/cpuinfo")["model name"],
		Memory:        memory(),
		ACPI:          files("/sys/firmware/acpi/tables"),
		PCI:           pciFunctions(),
		Virtio:        virtioDrivers(),
		Serial:        uarts(),
		Disks:         disks(),
		NICs:          nics(),
		Devices:       countDevices("/dev"),
		PID:           os.Getpid(),
		UID:           os.Getuid(),
		Mounts:        mounts(content("/proc/self/mountinfo")),
		CapEff:        capabilities(status["CapEff"]),
		CapBnd:        capabilities(status["CapBnd"]),
		Seccomp:       number(status["Seccomp"]),
		NoNewPrivs:    status["NoNewPrivs"] == "1",
		Cgroup:        cgroup(),
		Writable:      writable(),
		WritableCount: countWritable("/proc/sys", "/sys"),
	}
	if cpuid.CPU.Supports(cpuid.HYPERVISOR) {
		f.Hypervisor = short(cpuid.CPU.HypervisorVendorString)
	}
	f.Hostname, _ = os.Hostname()
	f.Processes, f.ProcessNames = processes()
	return f
}

func kernel() Kernel {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Kernel{}
	}
	return Kernel{unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]), bootID()}
}

func bootID() string { return content("/proc/sys/kernel/random/boot_id") }

// memory gives MemTotal, which /proc/meminfo has in KiB.
func memory() uint64 {
	text := strings.TrimSuffix(fields("/proc/meminfo")["MemTotal"], " kB")
	n, _ := strconv.ParseUint(text, 10, 54)
	return n << 10
}

// content gives what a file holds without space around it, and nothing for one that cannot be read.
func content(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// fields reads a file of lines "name: value". Of a name that comes twice the first counts.
func fields(name string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(content(name)) {
		key, value, _ := strings.Cut(line, ":")
		key = strings.TrimSpace(key)
		if _, ok := all[key]; !ok {
			all[key] = short(strings.TrimSpace(value))
		}
	}
	return all
}

func short(s string) string { return s[:min(len(s), maxString)] }

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// entries gives the names in a directory, sorted.
func entries(dir string) []os.DirEntry {
	all, _ := os.ReadDir(dir)
	return all
}

// listed gives what name makes of the entries of a directory, without the empty ones.
func listed(dir string, name func(entry os.DirEntry) string) []string {
	list := []string{}
	for _, e := range entries(dir) {
		if s := name(e); s != "" && len(list) < MaxList {
			list = append(list, short(s))
		}
	}
	return list
}

func files(dir string) []string {
	return listed(dir, func(e os.DirEntry) string {
		if e.IsDir() {
			return ""
		}
		return e.Name()
	})
}

// countRange counts the numbers of a list such as "0-3,5".
func countRange(s string) (n int) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(last)
		}
		if err == nil && b >= a {
			n += b - a + 1
		}
	}
	return n
}

// processes counts those in /proc, and gives the names of the first few.
func processes() (n int, names []string) {
	const few = 8
	names = []string{}
	for _, e := range entries("/proc") {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		n++
		if len(names) < few {
			names = append(names, content(filepath.Join("/proc", e.Name(), "comm")))
		}
	}
	return n, names
}
