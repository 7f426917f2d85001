//go:build linuxtest

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// BenchmarkBoot measures from exec to the first line of init: the stock 6.12 kernel as Debian
// ships it, 256 MiB, one vCPU, an initrd of 1 MB, the same command line. qemu-microvm is
// Debian's package with KVM. make bench runs it in virtual time, where ns/op counts
// instructions of monitor, host and guest; only the ratio means anything elsewhere.
func BenchmarkBoot(b *testing.B) {
	kernel := stockKernel(b, "6.12-cloud")
	initrd := writeSmallInitrd(b, b.TempDir())
	const cmdline = "console=ttyS0 panic=-1 quiet"
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	if path := os.Getenv("GOVMM_TEST_BINARY"); path != "" {
		self = path
	}
	monitors := []struct {
		name string
		args []string
	}{
		{"govmm", []string{self, "boot", "-m", "256M", "--cmdline", cmdline, kernel, initrd}},
		{"qemu-microvm", []string{
			"qemu-system-x86_64", "-M", "microvm", "-enable-kvm", "-cpu", "host", "-m", "256M", "-nodefaults", "-no-user-config",
			"-nographic", "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", cmdline,
		}},
	}
	for _, m := range monitors {
		b.Run(m.name, func(b *testing.B) {
			boot(b, m.args) // files into the page cache
			for b.Loop() {
				boot(b, m.args)
			}
		})
	}
}

// boot starts a monitor, waits for init's line and ends it.
func boot(b *testing.B, args []string) {
	b.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Env = append(os.Environ(), "GOVMM_TEST_AS_COMMAND=1")
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
		if strings.Contains(lines.Text(), strings.TrimSpace(initLine)) {
			return
		}
		seen = append(seen, lines.Text())
	}
	b.Fatal(fmt.Errorf("%s ended before init spoke:\n%s", args[0], strings.Join(seen, "\n")))
}
