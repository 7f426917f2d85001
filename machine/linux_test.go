//go:build linuxtest

package machine

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
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
	for i := range 20 {
		bootOnce(t, cache, kernel, initrd, disk, 1+i%2)
	}
	checkHoldings(t, before)
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
	said := strings.ReplaceAll(console.String(), "\r", "")
	if err != nil || outcome.Reason != PowerOff || !strings.Contains(said, guesttest.InitLine) {
		t.Fatalf("%d CPUs: %v, %v; console:\n%s", cpus, outcome.Reason, err, said)
	}
	// setup_data with the seed for random numbers, which the kernel wipes when it has taken it.
	const seed, size = 0x8000 + 16, 32
	if b, err := m.Memory().ReadSlice(seed, size); err != nil || !bytes.Equal(b, make([]byte, size)) {
		t.Errorf("the kernel has not taken its seed: % x, %v", b, err)
	}
}
