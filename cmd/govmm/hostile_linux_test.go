//go:build linuxtest

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"govmm/machine/guesttest"
)

const (
	hostileTimeVar = "GOVMM_HOSTILE_TIME" // how long each guest is hostile
	hostileTime    = "5s"
)

// TestHostileKernel has root in a guest take all devices from the kernel's drivers and write rubbish to everything. However
// that ends for the guest, the monitor ends in order, and nothing of the host's is touched but the inside of the disk image.
func TestHostileKernel(t *testing.T) {
	for _, kernel := range netKernels {
		t.Run(kernel, func(t *testing.T) { hostileKernel(t, guesttest.Kernel(t, kernel), 5) })
	}
	t.Run("mmio", func(t *testing.T) { hostileKernel(t, guesttest.Kernel(t, usualKernel), 5, "--transport", "mmio") })
}

func hostileKernel(t *testing.T, kernel string, devices int, flags ...string) {
	duration := os.Getenv(hostileTimeVar)
	if duration == "" {
		duration = hostileTime
	}
	limit, err := time.ParseDuration(duration)
	if err != nil {
		t.Fatal(err)
	}
	disk := ext4Image(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(disk), "neighbour"), make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	before := filesBeside(t, disk)
	c := commandWithin(t, limit+2*runTime, append(append([]string{"boot"}, flags...), "-a", "quiet console=ttyS0 -- hostile -time "+duration, "-m", "512M", "-c", "2",
		"-d", disk, "-n", "user,restrict", "--balloon", "--console", "virtio", kernel, guesttest.Initramfs(t))...)
	// A guest that has written over its own kernel may stand still for ever.
	term := time.AfterFunc(limit+100*time.Second, func() { _ = c.Process.Signal(syscall.SIGTERM) })
	defer term.Stop()
	started := time.Now()
	r := finish(t, c)

	if want := fmt.Sprintf(" %d devices, ports true", devices); !strings.Contains(r.stdout, want) {
		t.Errorf("the guest has not %q; standard error: %s\nits console:%s", want, r.stderr, tail(r.stdout))
	}
	for _, bad := range []string{"panic:", "goroutine ", "internal error", "fatal error"} {
		if strings.Contains(r.stderr, bad) {
			t.Errorf("the monitor says %q: %s", bad, r.stderr)
		}
	}
	switch r.status {
	case 0, statusCrash, statusSignal0 + int(syscall.SIGTERM):
	default:
		t.Errorf("exit status %d; standard error: %s", r.status, r.stderr)
	}
	if after := filesBeside(t, disk); after != before {
		t.Errorf("files were\n%s, are\n%s", before, after)
	}
	writes := "unknown"
	if found := regexp.MustCompile(`hostile: (\d+) writes`).FindStringSubmatch(r.stdout); found != nil {
		writes = found[1]
	}
	t.Logf("exit status %d, %s writes; standard error: %s\nthe console's end:%s", r.status, writes, r.stderr, tail(r.stdout))
	name := strings.TrimPrefix(t.Name(), "TestHostileKernel/")
	for key, value := range map[string]string{
		"writes": writes, "seconds": fmt.Sprintf("%.1f s", time.Since(started).Seconds()), "exit status": strconv.Itoa(r.status),
	} {
		guesttest.Figure(t, fmt.Sprintf("hostile kernel %s: %s", name, key), value)
	}
}

// filesBeside are the files in the directory of an image, with their content, but for the image's own.
func filesBeside(t *testing.T, image string) string {
	t.Helper()
	var seen strings.Builder
	entries, err := os.ReadDir(filepath.Dir(image))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(filepath.Dir(image), e.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := [sha256.Size]byte{}
		if path != image {
			sum = sha256.Sum256(content)
		}
		fmt.Fprintf(&seen, "%s: %d bytes, %x\n", e.Name(), len(content), sum)
	}
	return seen.String()
}
