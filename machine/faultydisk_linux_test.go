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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/blk"
	"govmm/machine/guesttest"
)

// A faultyDisk is an image on a disk that fails and is slow at random, and that loses what was written since the last flush when a flush fails.
type faultyDisk struct {
	*blk.File

	mu       sync.Mutex
	r        *rand.Rand
	requests int
	faults   int
	slow     int
	lost     []overwritten // by the next flush, if it fails
}

// An overwritten is what was in a place before a write.
type overwritten struct {
	at   int64
	data []byte
}

// A diskFault is what happens to a request.
type diskFault struct {
	spoils bool
	moves  int   // bytes that are transferred with a fault
	err    error // nil if fewer bytes than were asked for are all that tells of it
	delay  time.Duration
}

const (
	slowBy   = 3 * time.Second
	slowMost = 3
)

// fault decides about a request for n bytes.
func (d *faultyDisk) fault(n int) (f diskFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	switch dice := d.r.IntN(1000); {
	case dice < 30:
		f = diskFault{spoils: true, err: unix.EIO}
	case dice < 60:
		f = diskFault{spoils: true, err: unix.ENOSPC}
	case dice < 80:
		f = diskFault{spoils: true, moves: d.r.IntN(n + 1), err: io.ErrUnexpectedEOF}
	case dice < 100 && n > 0:
		f = diskFault{spoils: true, moves: d.r.IntN(n)}
	case dice >= 990 && d.slow < slowMost:
		d.slow++
		f.delay = slowBy
	}
	if f.spoils {
		d.faults++
	}
	return f
}

func (d *faultyDisk) ReadVec(segments [][]byte, off int64) (int, error) {
	f := d.fault(bytesOf(segments))
	time.Sleep(f.delay)
	if !f.spoils {
		return d.File.ReadVec(segments, off)
	}
	return d.part(d.File.ReadVec, segments, off, f)
}

func (d *faultyDisk) WriteVec(segments [][]byte, off int64) (int, error) {
	n := bytesOf(segments)
	f := d.fault(n)
	time.Sleep(f.delay)
	d.mu.Lock()
	defer d.mu.Unlock()
	before := overwritten{off, make([]byte, n)}
	if _, err := d.File.ReadVec([][]byte{before.data}, off); err != nil {
		return 0, err
	}
	d.lost = append(d.lost, before)
	if !f.spoils {
		return d.File.WriteVec(segments, off)
	}
	return d.part(d.File.WriteVec, segments, off, f)
}

// part transfers as much as a fault lets through.
func (d *faultyDisk) part(transfer func([][]byte, int64) (int, error), segments [][]byte, off int64, f diskFault) (int, error) {
	done := 0
	for _, s := range segments {
		n, err := transfer([][]byte{s[:min(len(s), f.moves-done)]}, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, f.err
}

func (d *faultyDisk) Sync() error {
	f := d.fault(0)
	time.Sleep(f.delay)
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := d.lost
	d.lost = nil
	if f.err == nil {
		return d.File.Sync()
	}
	for _, before := range slices.Backward(lost) {
		if _, err := d.File.WriteVec([][]byte{before.data}, before.at); err != nil {
			return err
		}
	}
	return f.err
}

// A disk that fails has no quick way past that.
func (d *faultyDisk) TryReadVec([][]byte, int64) (int, error)  { return 0, blk.ErrWouldWait }
func (d *faultyDisk) TryWriteVec([][]byte, int64) (int, error) { return 0, blk.ErrWouldWait }

func bytesOf(segments [][]byte) (n int) {
	for _, s := range segments {
		n += len(s)
	}
	return n
}

// TestTinyFaultyDisk has Linux write to a disk that fails and is slow at random. It hears of errors and goes on, all that it was told is stable is
// on the disk, and the monitor's log stays short.
func TestTinyFaultyDisk(t *testing.T) {
	blocks := guesttest.Count(t, "GOVMM_TEST_FAULTY_BLOCKS", 200)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	image := filepath.Join(t.TempDir(), "disk.img")
	places := blocks + guesttest.ConsoleLag // each is written once
	if err := os.WriteFile(image, make([]byte, places*guesttest.PatternBlock), 0o644); err != nil {
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
	p := writePattern(t, disk, slog.New(slog.NewTextHandler(&log, nil)), blocks, places)
	took := time.Since(started)

	p.check(t, image)
	if lines := strings.Count(log.String(), "\n"); lines < 1 || lines > int(took/(10*time.Second))+2 {
		t.Errorf("%d faults made %d lines of log in %v:\n%s", disk.faults, lines, took, log.String())
	}
	if len(p.stable) < blocks || p.failed == 0 || disk.faults == 0 {
		t.Errorf("%d faults, of which the guest saw %d; it told of %d blocks of %d", disk.faults, p.failed, len(p.stable), blocks)
	}
	t.Logf("%d requests, %d faults, %d slow; the guest saw %d errors", disk.requests, disk.faults, disk.slow, p.failed)
	guesttest.Figure(t, "faulty-disk-requests", disk.requests)
	guesttest.Figure(t, "faulty-disk-faults", disk.faults)
	guesttest.Figure(t, "faulty-disk-blocks", len(p.stable))
}

// A pattern is what a guest said of the blocks that it wrote.
type pattern struct {
	stable []int
	failed int
	last   string // of its console
}

// writePattern runs a guest until it has told of so many blocks, on a disk that has room for more.
func writePattern(t *testing.T, backend blk.Backend, log *slog.Logger, blocks, places int) *pattern {
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(blocks)*time.Second)
	defer cancel()
	p, heard := new(pattern), make(chan struct{})
	go func() {
		defer close(heard)
		p.listen(r, blocks)
		cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	_, err = m.Run(ctx)
	w.Close()
	<-heard
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("after %d blocks: %v; the guest's last line is %q", len(p.stable), err, p.last)
	}
	return p
}

// listen takes in what the guest says until it has told of so many blocks.
func (p *pattern) listen(console io.Reader, blocks int) {
	for s := bufio.NewScanner(console); len(p.stable) < blocks && s.Scan(); {
		p.last = s.Text()
		if said, ok := guesttest.ParsePatternLine(p.last); ok && said.Stable {
			p.stable = append(p.stable, said.Number)
		} else if ok {
			p.failed++
		}
	}
}

// check holds that each block that the guest was told is stable is whole in the image.
func (p *pattern) check(t *testing.T, image string) {
	t.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, told := range p.stable {
		block := data[told*guesttest.PatternBlock:][:guesttest.PatternBlock]
		if n, whole := guesttest.ParsePattern(block); n != told || !whole {
			t.Errorf("in the place of block %d, of which the guest was told that it is stable, is block %d, whole: %v", told, n, whole)
		}
	}
}
