//go:build linuxtest

package machine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"govmm/bootimage/kernelcache"
	"govmm/devices/virtio"
	"govmm/devices/virtio/blk"
	"govmm/machine/guesttest"
)

// TestBootsInARow boots a stock kernel again and again in one process, which holds afterwards what it held before.
func TestBootsInARow(t *testing.T) {
	kernel, initrd := openFile(t, guesttest.Kernel(t, "6.12-cloud")), openFile(t, guesttest.SmallInitrd(t))
	cache := &kernelcache.Dir{Path: filepath.Join(t.TempDir(), "cache")}
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	bootOnce(t, cache, kernel, initrd, disk, 1) // what the first one leaves is the runtime's
	before := hold(t)
	for i := range 6 {
		bootOnce(t, cache, kernel, initrd, disk, 1+i%2)
	}
	checkHoldings(t, before)
}

// TestTinyBootsInARow boots the tiny kernel in one process, again and again. At the end the process has what it had at the beginning.
func TestTinyBootsInARow(t *testing.T) {
	boots := guesttest.Count(t, "GOVMM_TEST_BOOTS", 10)
	kernel, initrd := openFile(t, guesttest.Kernel(t, "tiny")), openFile(t, guesttest.SmallInitrd(t))
	cache := &kernelcache.Dir{Path: filepath.Join(t.TempDir(), "cache")}
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	const warmUp = 4 // after which the runtime has its threads, and the heap its size
	for i := range warmUp {
		bootOnce(t, cache, kernel, initrd, disk, 1+i%2)
	}
	before := hold(t)
	memory, threads := resident(t)
	for i := range boots {
		bootOnce(t, cache, kernel, initrd, disk, 1+i%2)
	}
	checkHoldings(t, before)
	after, threadsAfter := resident(t)
	const drift = 4 << 20
	if after > memory+drift || threadsAfter > threads+4 {
		t.Errorf("the process had %d KiB and %d threads, and has %d KiB and %d threads", memory>>10, threads, after>>10, threadsAfter)
	}
	for _, f := range []struct {
		key   string
		value int
	}{
		{"boots", boots}, {"boots-failed", 0}, {"boots-memory-first-kib", memory >> 10}, {"boots-memory-last-kib", after >> 10},
		{"boots-threads-first", threads}, {"boots-threads-last", threadsAfter},
		{"boots-files-first", before.descriptors}, {"boots-files-last", hold(t).descriptors},
	} {
		guesttest.Figure(t, f.key, f.value)
	}
}

// resident is the anonymous memory of this process, when garbage is gone, and the number of its threads.
func resident(t *testing.T) (memory, threads int) {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "RssAnon":
			_, err = fmt.Sscan(value, &memory)
		case "Threads":
			_, err = fmt.Sscan(value, &threads)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return memory << 10, threads
}

// openedFile is a file and its content.
type openedFile struct {
	file *os.File
	data []byte
}

func openFile(t *testing.T, path string) openedFile {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return openedFile{file, data}
}

var powerDown = regexp.MustCompile(`\[ *[0-9.]+\] reboot: Power down\n`)

// bootOnce runs a guest whose init speaks and powers off.
func bootOnce(t *testing.T, cache *kernelcache.Dir, kernel, initrd openedFile, disk string, cpus int) {
	t.Helper()
	file, err := blk.OpenFile(disk, false)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dev, err := blk.New(blk.Config{Backend: file})
	if err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	m, err := New(Config{
		CPUs: cpus, Kernel: kernel.data, KernelFile: kernel.file, Initrd: initrd.data, InitrdFile: initrd.file, Cache: cache,
		Cmdline: DefaultCmdline + " quiet",
		Console: &console, Devices: []virtio.Device{dev},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	outcome, err := m.Run(ctx)
	// The kernel's last word may come into the middle of what init says, for terminals write in the background.
	said := powerDown.ReplaceAllString(strings.ReplaceAll(console.String(), "\r", ""), "")
	if err != nil || outcome.Reason != PowerOff || !strings.Contains(said, guesttest.InitLine) {
		t.Fatalf("%d CPUs: %v, %v; console:\n%s", cpus, outcome.Reason, err, said)
	}
	// setup_data with the seed for random numbers, which the kernel wipes when it has taken it.
	const seed, size = 0x8000 + 16, 32
	if b, err := m.Memory().ReadSlice(seed, size); err != nil || !bytes.Equal(b, make([]byte, size)) {
		t.Errorf("the kernel has not taken its seed: % x, %v", b, err)
	}
}
