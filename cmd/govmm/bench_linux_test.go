//go:build linuxtest

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"govmm/machine/guesttest"
)

const (
	benchCmdline  = "console=ttyS0 panic=-1 quiet"
	benchMemory   = "256M"
	benchMemoryKB = 256 << 10
)

// monitor is a command that boots the stock 6.12 kernel as Debian ships it with one vCPU,
// 256 MiB and an initrd of 1 MB.
type monitor struct {
	name string
	args []string
}

func govmmMonitor(b *testing.B, kernel, initrd string) monitor {
	b.Helper()
	// The test binary would do, but its size and its start are not those of the product.
	path := os.Getenv("GOVMM_TEST_BINARY")
	if path == "" {
		b.Fatal("GOVMM_TEST_BINARY is not set; run this benchmark with: make bench")
	}
	return monitor{"govmm", []string{path, "boot", "-m", benchMemory, "--cmdline", benchCmdline, kernel, initrd}}
}

// qemuMonitor is the microvm of Debian's package, on KVM.
func qemuMonitor(kernel, initrd string) monitor {
	return monitor{"qemu-microvm", []string{
		"qemu-system-x86_64", "-M", "microvm", "-enable-kvm", "-cpu", "host", "-m", benchMemory, "-nodefaults", "-no-user-config",
		"-nographic", "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", benchCmdline,
	}}
}

// BenchmarkBoot measures from exec to the first line of init, side by side. make bench runs it in
// virtual time, where ns/op counts instructions of monitor, host kernel and guest
// together; anywhere else only the ratio means something.
func BenchmarkBoot(b *testing.B) {
	kernel, initrd := guesttest.Kernel(b, "6.12-cloud"), guesttest.SmallInitrd(b)
	for _, m := range []monitor{govmmMonitor(b, kernel, initrd), qemuMonitor(kernel, initrd)} {
		b.Run(m.name, func(b *testing.B) {
			m.boot(b, nil) // files into the page cache
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				m.boot(b, nil)
				took = append(took, time.Since(start))
			}
			// The mean is no use in virtual time: whenever all inside waits for a file of the
			// host's, the clock leaps to the next timer.
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-median")
		})
	}
}

// BenchmarkMonitorMemory reports what the monitor's process holds beside the guest's RAM when init
// speaks: the proportional and the private part of its resident memory, in KiB.
func BenchmarkMonitorMemory(b *testing.B) {
	kernel, initrd := guesttest.Kernel(b, "6.12-cloud"), guesttest.SmallInitrd(b)
	m := govmmMonitor(b, kernel, initrd)
	var beside memoryUse
	for b.Loop() {
		m.boot(b, func(pid int) { beside = besideGuestRAM(b, pid) })
	}
	b.ReportMetric(float64(beside.pss), "KiB-pss")
	b.ReportMetric(float64(beside.private), "KiB-private")
	b.ReportMetric(0, "ns/op") // not what is measured here
}

// boot starts the monitor, waits for init's line, calls look and ends it.
func (m monitor) boot(b *testing.B, look func(pid int)) {
	b.Helper()
	c := exec.Command(m.args[0], m.args[1:]...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	var seen []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), strings.TrimSpace(guesttest.InitLine)) {
			if look != nil {
				look(c.Process.Pid)
			}
			return
		}
		seen = append(seen, lines.Text())
	}
	b.Fatalf("%s ended before init spoke:\n%s", m.name, strings.Join(seen, "\n"))
}

// memoryUse is in KiB.
type memoryUse struct{ pss, private uint64 }

// besideGuestRAM adds up the process's mappings but the one of the guest's RAM, which is
// told by its size: it is the largest by far.
func besideGuestRAM(b *testing.B, pid int) memoryUse {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var (
		use      memoryUse
		guestRAM bool
		found    bool
	)
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, ok := strings.Cut(s.Text(), ":")
		value, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		if !ok || err != nil {
			continue // a mapping's header, or flags
		}
		switch {
		case name == "Size":
			guestRAM = value >= benchMemoryKB
			found = found || guestRAM
		case guestRAM:
		case name == "Pss":
			use.pss += value
		case strings.HasPrefix(name, "Private_"):
			use.private += value
		}
	}
	if !found {
		b.Fatal("the guest's RAM was not found among the mappings")
	}
	return use
}
