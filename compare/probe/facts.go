package probe

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// Facts are what is seen in a place. What cannot be had is empty.
type Facts struct {
	Kernel     Kernel
	Hostname   string
	CPUs       int    // that this process may run on
	CPUModel   string // of /proc/cpuinfo
	Hypervisor string // the vendor of CPUID leaf 0x40000000
	Memory     uint64 // MemTotal, bytes

	ACPI   []string // tables
	PCI    []string // devices, by address
	Virtio []string // devices, by driver
	Disks  []string // with their sizes
	NICs   []string

	Processes int // in /proc
	PID       int
	UID       int

	Capabilities  int    // that are effective
	CapEff        uint64 // which
	Seccomp       int    // as in proc_pid_status(5): 0 none, 2 a filter
	NoNewPrivs    bool
	Writable      []string // of a list of sensitive files, those that this process may write
	WritableCount int      // of all files in /proc/sys and /sys, as far as they were looked at
	Cgroup        Cgroup
}

// A Kernel says which one it is. BootID is made by each kernel when it starts.
type Kernel struct{ Release, Version, BootID string }

// A Cgroup has the limits of the process's own control group (cgroup-v2.rst).
type Cgroup struct{ PidsMax, MemoryMax, CPUMax string }

const bootIDPath = "/proc/sys/kernel/random/boot_id"

// Look gives what is seen here.
func Look() Facts {
	status := readStatus()
	f := Facts{
		Kernel: lookAtKernel(), CPUs: runtime.NumCPU(), CPUModel: valueOf("/proc/cpuinfo", "model name"), Hypervisor: hypervisor(), Memory: memTotal(),
		ACPI: files("/sys/firmware/acpi/tables/*"), PCI: names("/sys/bus/pci/devices/*"), Virtio: virtio(), Disks: disks(), NICs: names("/sys/class/net/*"),
		Processes: len(names("/proc/[0-9]*")), PID: os.Getpid(), UID: os.Getuid(),
		NoNewPrivs: status["NoNewPrivs"] == "1", Writable: writable(), WritableCount: countWritable(), Cgroup: lookAtCgroup(),
	}
	f.Hostname, _ = os.Hostname()
	f.CapEff, _ = strconv.ParseUint(status["CapEff"], 16, 64)
	for c := f.CapEff; c != 0; c &= c - 1 {
		f.Capabilities++
	}
	f.Seccomp, _ = strconv.Atoi(status["Seccomp"])
	return f
}

func lookAtKernel() Kernel {
	var u unix.Utsname
	_ = unix.Uname(&u) // cannot fail
	return Kernel{unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]), read(bootIDPath)}
}

// hypervisor gives the vendor's twelve letters; empty on a processor that says it is none's.
func hypervisor() string {
	if !cpuid.CPU.Supports(cpuid.HYPERVISOR) {
		return ""
	}
	return strings.TrimRight(cpuid.CPU.HypervisorVendorString, "\x00")
}

// read gives a small file without its end of line, or nothing.
func read(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// valueOf gives the value of the first line "key: value" of a file.
func valueOf(path, key string) string {
	text, _ := os.ReadFile(path)
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func memTotal() uint64 {
	kb, _ := strconv.ParseUint(strings.TrimSuffix(valueOf("/proc/meminfo", "MemTotal"), " kB"), 10, 53)
	return kb << 10
}

func readStatus() map[string]string {
	values := make(map[string]string)
	text, _ := os.ReadFile("/proc/self/status")
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok {
			values[k] = strings.TrimSpace(v)
		}
	}
	return values
}

// most bounds lists.
const most = 256

// names gives the last elements of what a pattern matches.
func names(pattern string) []string {
	found, _ := filepath.Glob(pattern) // patterns are ours
	var list []string
	for _, path := range found[:min(len(found), most)] {
		list = append(list, filepath.Base(path))
	}
	return list
}

// files gives those that are no directories.
func files(pattern string) []string {
	var list []string
	for _, name := range names(pattern) {
		if info, err := os.Stat(filepath.Join(filepath.Dir(pattern), name)); err == nil && !info.IsDir() {
			list = append(list, name)
		}
	}
	return list
}

// virtio gives the drivers of virtio devices.
func virtio() []string {
	var list []string
	for _, name := range names("/sys/bus/virtio/devices/*") {
		driver, err := os.Readlink(filepath.Join("/sys/bus/virtio/devices", name, "driver"))
		if err != nil {
			driver = "no driver"
		}
		list = append(list, filepath.Base(driver))
	}
	return list
}

// disks gives block devices that are not made by the kernel itself.
func disks() []string {
	var list []string
	for _, name := range names("/sys/block/*") {
		if strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "nbd") {
			continue
		}
		sectors, _ := strconv.ParseUint(read("/sys/block/"+name+"/size"), 10, 53)
		list = append(list, name+" "+strconv.FormatUint(sectors>>11, 10)+" MiB")
	}
	return list
}

// lookAtCgroup reads the limits of the own control group, which in a cgroup namespace is the root of the mount.
func lookAtCgroup() Cgroup {
	const mount = "/sys/fs/cgroup"
	dir := mount
	for line := range strings.Lines(read("/proc/self/cgroup")) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			dir = filepath.Join(mount, filepath.Clean("/"+path))
		}
	}
	return Cgroup{read(dir + "/pids.max"), read(dir + "/memory.max"), read(dir + "/cpu.max")}
}
