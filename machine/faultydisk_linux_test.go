//go:build linuxtest

package machine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/blk"
	"govmm/machine/guesttest"
)

// A faultyDisk is an image on a disk that fails and is slow at random.
type faultyDisk struct {
	*blk.File

	mu       sync.Mutex
	r        *rand.Rand
	requests int
	faults   int
	slow     int
}

const (
	slowBy   = 3 * time.Second
	slowMost = 3
)

// fault decides about a request: an error that takes its place, after some of its bytes have moved.
func (d *faultyDisk) fault(n int) (moves int, err error) {
	d.mu.Lock()
	d.requests++
	dice := d.r.IntN(1000)
	slow := dice >= 990 && d.slow < slowMost
	switch {
	case dice < 40:
		err = unix.EIO
	case dice < 70:
		err = unix.ENOSPC
	case dice < 100:
		moves, err = d.r.IntN(n+1), io.ErrUnexpectedEOF // a short transfer
	case slow:
		d.slow++
	}
	if err != nil {
		d.faults++
	}
	d.mu.Unlock()
	if slow {
		time.Sleep(slowBy)
	}
	return moves, err
}

// transfer does as much of a transfer as the fault lets it.
func (d *faultyDisk) transfer(real func([][]byte, int64) (int, error), segments [][]byte, off int64) (int, error) {
	total := 0
	for _, s := range segments {
		total += len(s)
	}
	moves, fault := d.fault(total)
	if fault == nil {
		return real(segments, off)
	}
	done := 0
	for _, s := range segments {
		part := s[:min(len(s), moves-done)]
		n, err := real([][]byte{part}, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, fault
}

func (d *faultyDisk) ReadVec(segments [][]byte, off int64) (int, error) {
	return d.transfer(d.File.ReadVec, segments, off)
}

func (d *faultyDisk) WriteVec(segments [][]byte, off int64) (int, error) {
	return d.transfer(d.File.WriteVec, segments, off)
}

// A disk that fails has no quick way past that.
func (d *faultyDisk) TryReadVec([][]byte, int64) (int, error)  { return 0, blk.ErrWouldWait }
func (d *faultyDisk) TryWriteVec([][]byte, int64) (int, error) { return 0, blk.ErrWouldWait }

func (d *faultyDisk) Sync() error {
	if _, err := d.fault(0); err != nil {
		return err
	}
	return d.File.Sync()
}

// TestTinyFaultyDisk has Linux write to a disk that fails and is slow at random. It hears of each error and goes on, all that it was told is stable is on the
// disk, and the monitor's log stays short.
func TestTinyFaultyDisk(t *testing.T) {
	blocks := guesttest.Count(t, "GOVMM_TEST_FAULTY_BLOCKS", 200)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, make([]byte, places*blockSize), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := blk.OpenFile(image, false)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	disk := &faultyDisk{File: file, r: rand.New(rand.NewPCG(seed, 0))}
	var log bytes.Buffer
	started := time.Now()
	said := writePattern(t, disk, slog.New(slog.NewTextHandler(&log, nil)), blocks)
	took := time.Since(started)

	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for place, told := range said.stable {
		var n int
		if _, err := fmt.Sscanf(string(data[place*blockSize:][:64]), "govmm pattern %d\n", &n); err != nil || n < told {
			t.Errorf("at place %d is block %d (%v), and the guest was told that %d is stable", place, n, err, told)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines < 1 || lines > int(took/(10*time.Second))+2 {
		t.Errorf("%d faults made %d lines of log in %v:\n%s", disk.faults, lines, took, log.String())
	}
	if said.failed == 0 || disk.faults == 0 {
		t.Errorf("%d faults, of which the guest saw %d", disk.faults, said.failed)
	}
	t.Logf("%d requests, %d faults, %d slow; the guest saw %d errors", disk.requests, disk.faults, disk.slow, said.failed)
	guesttest.Figure(t, "faulty-disk-requests", disk.requests)
	guesttest.Figure(t, "faulty-disk-faults", disk.faults)
	guesttest.Figure(t, "faulty-disk-blocks", said.told)
}

// Of the image, in blocks as the guest's command has them.
const (
	blockSize = 4096
	places    = 500
)

// A pattern is what a guest said of the blocks that it wrote.
type pattern struct {
	stable       map[int]int // the last at each place
	told, failed int
}

// writePattern runs a guest until it has told of so many blocks.
func writePattern(t *testing.T, backend blk.Backend, log *slog.Logger, blocks int) *pattern {
	t.Helper()
	dev, err := blk.New(blk.Config{Backend: backend, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	kernel, initrd := openFile(t, guesttest.Kernel(t, "tiny")), openFile(t, guesttest.PatternInitrd(t))
	r, w := io.Pipe()
	m, err := New(Config{
		Kernel: kernel.data, KernelFile: kernel.file, Initrd: initrd.data, InitrdFile: initrd.file,
		Cmdline: DefaultCmdline + fmt.Sprintf(" quiet -- 0 %d /dev/vda", places), Console: w, Devices: []virtio.Device{dev},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	said := &pattern{stable: map[int]int{}}
	go func() {
		said.listen(r, blocks)
		cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	if _, err := m.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("after %d blocks: %v", said.told, err)
	}
	return said
}

// listen takes in what the guest says until it has told of so many blocks.
func (p *pattern) listen(console io.Reader, blocks int) {
	for s := bufio.NewScanner(console); p.told < blocks && s.Scan(); {
		var n int
		if _, err := fmt.Sscanf(s.Text(), "stable %d ", &n); err == nil {
			p.stable[n%places] = n
			p.told++
		} else if strings.HasPrefix(s.Text(), "failed ") {
			p.failed++
		}
	}
}
