//go:build linuxtest

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
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

	hostileMemory = 16 << 20 // what a monitor may grow by: pages of its program that it had given back, the heap between two collections, bounded queues
	hostileFiles  = 64       // and descriptors: of interrupt vectors that are used for the first time
)

// TestHostileKernel has root in a guest take all devices from the kernel's drivers and write rubbish to everything. However
// that ends for the guest, the monitor ends in order and has not grown, and nothing of the host's is touched but the inside of the disk image.
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
	files := filesBeside(t, disk)
	c := commandWithin(t, limit+2*runTime, append(append([]string{"boot"}, flags...), "-a", "quiet console=ttyS0 -- hostile -time "+duration, "-m", "512M", "-c", "2",
		"-d", disk, "-n", "user,restrict", "--balloon", "--console", "virtio", kernel, guesttest.Initramfs(t))...)
	// A guest that has written over its own kernel may stand still for ever.
	term := time.AfterFunc(limit+100*time.Second, func() { _ = c.Process.Signal(syscall.SIGTERM) })
	defer term.Stop()
	started := time.Now()
	r, before, after := watch(t, c, 512<<20, ", ports ")
	t.Logf("the monitor held %+v at first and %+v at last", before, after)
	if before.files == 0 || after.files == 0 || after.files > before.files+hostileFiles || after.memory > before.memory+hostileMemory {
		t.Errorf("the monitor held %+v, and in the end %+v", before, after)
	}

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
	if now := filesBeside(t, disk); now != files {
		t.Errorf("files were\n%s, are\n%s", files, now)
	}
	writes := "unknown"
	if found := regexp.MustCompile(`hostile: (\d+) writes`).FindStringSubmatch(r.stdout); found != nil {
		writes = found[1]
	}
	t.Logf("exit status %d, %s writes; standard error: %s\nthe console's end:%s", r.status, writes, r.stderr, tail(r.stdout))
	name := strings.TrimPrefix(t.Name(), "TestHostileKernel/")
	for key, value := range map[string]string{
		"descriptors": fmt.Sprintf("%d, %d", before.files, after.files), "memory": fmt.Sprintf("%d, %d KiB", before.memory>>10, after.memory>>10),
		"writes": writes, "seconds": fmt.Sprintf("%.1f s", time.Since(started).Seconds()), "exit status": strconv.Itoa(r.status),
	} {
		guesttest.Figure(t, fmt.Sprintf("hostile kernel %s: %s", name, key), value)
	}
}

// watch runs a monitor to its end, and gives what it held when its guest had written a text, and just before the end.
func watch(t *testing.T, c *exec.Cmd, ram int, text string) (r result, first, last holding) {
	t.Helper()
	out, err := c.StdoutPipe()
	must(t, err)
	errs, err := c.StderrPipe()
	must(t, err)
	must(t, c.Start())
	stdout, stderr := showScreen(out), showScreen(errs)
	stdout.await(regexp.MustCompile(regexp.QuoteMeta(text)))
	for !stdout.over() || !stderr.over() {
		now, err := tryHolding(c.Process.Pid, ram)
		switch {
		case err != nil: // it ends
		case first.files == 0:
			first = now
		default:
			last = now
		}
		time.Sleep(time.Second / 2)
	}
	return result{exitStatus(t, c.Wait()), stdout.all(), stderr.all()}, first, last
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
