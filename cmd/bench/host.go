package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// host is where a run was.
type host struct {
	CPU         string `json:"cpu"`
	CPUs        int    `json:"cpus"`
	Kernel      string `json:"kernel"`
	Go          string `json:"go"`
	CC          string `json:"cc"`
	QEMU        string `json:"qemu"`
	Nested      bool   `json:"nested"`       // the nested test host
	VirtualTime bool   `json:"virtual_time"` // its clock counts instructions
	Hardware    bool   `json:"hardware"`     // the processor shows VT-x or AMD-V, perhaps emulated ones
}

// Emulated reports that the host is none that figures could be times of.
func (h host) Emulated() bool { return h.Nested || !h.Hardware }

// describeHost asks this host. What it does not tell is empty.
func describeHost(qemu string) host {
	h := host{
		CPUs:        runtime.NumCPU(),
		Go:          runtime.Version(),
		CC:          firstLine("cc", "--version"),
		QEMU:        firstLine(qemu, "--version"),
		Nested:      os.Getenv("GOVMM_NESTED") != "",
		VirtualTime: os.Getenv("GOVMM_VIRTUAL_TIME") != "",
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			h.CPU = strings.TrimSpace(value)
		case "flags":
			flags := strings.Fields(value)
			h.Hardware = slices.Contains(flags, "vmx") || slices.Contains(flags, "svm")
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return h
}

// kind is that of figures which this host's clock gives.
func (h host) kind() string {
	if h.VirtualTime {
		return kindVirtual
	}
	return kindTime
}

// firstLine is that of what a command prints; empty if it fails.
func firstLine(command ...string) string {
	line, _, _ := strings.Cut(output(command...), "\n")
	return strings.TrimSpace(line)
}

// output is what a command prints; empty if it fails.
func output(command ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
