package blk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTryFile(t *testing.T) {
	f := tempFile(t, 64*sectorSize)
	want := bytes.Repeat([]byte{0xa5}, 3*sectorSize)
	for _, missing := range []bool{false, true} { // as on file systems with and without RWF_NOWAIT
		f.readNowait.missing.Store(missing)
		f.writeNowait.missing.Store(missing)
		if n, err := f.WriteVec([][]byte{want}, sectorSize); n != len(want) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		got := make([]byte, len(want))
		// It was just written, and so is in the page cache.
		if n, err := f.TryReadVec([][]byte{got[:100], got[100:]}, sectorSize); n != len(got) || err != nil || !bytes.Equal(got, want) {
			t.Errorf("read: %d, %v, or wrong data", n, err)
		}
	}
}

// TestTryInMemory holds that what lies in memory is known to.
func TestTryInMemory(t *testing.T) {
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Fatalf("/dev/shm is no tmpfs (%v): mount -t tmpfs tmpfs /dev/shm", err)
	}
	image, err := os.CreateTemp("/dev/shm", "govmm-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(image.Name()) })
	if err := errors.Join(image.Truncate(64*sectorSize), image.Close()); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, image.Name(), false)
	if !f.memory {
		t.Error("an image in /dev/shm is not taken to be in memory")
	}
	data := bytes.Repeat([]byte{0xa5}, 8*sectorSize)
	if n, err := f.TryWriteVec([][]byte{data[:1000], data[1000:]}, sectorSize); n != len(data) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	got := make([]byte, len(data))
	if n, err := f.TryReadVec([][]byte{got}, sectorSize); n != len(got) || err != nil || !bytes.Equal(got, data) {
		t.Errorf("read: %d, %v, or wrong data", n, err)
	}
	if one, two := f.maxTry(1), f.maxTry(2); one != 2<<20 || two != 64<<10 {
		t.Errorf("a try is at most %d bytes on one processor, %d on two", one, two)
	}
	// As while a hole is punched: the kernel would have the write wait, but no read.
	f.long.Lock()
	defer f.long.Unlock()
	if _, err := f.TryWriteVec([][]byte{data}, 0); err != ErrWouldWait {
		t.Errorf("a write during another: %v", err)
	}
	if n, err := f.TryReadVec([][]byte{got}, sectorSize); n != len(got) || err != nil {
		t.Errorf("a read during a write: %d, %v", n, err)
	}
}

// TestNoTryAfterSlowOne holds that requests go to the workers for a while after a call was slow.
func TestNoTryAfterSlowOne(t *testing.T) {
	f := tempFile(t, 64*sectorSize)
	f.writeNowait.missing.Store(true)
	f.writeNowait.distrust.Store(2)
	segments := [][]byte{make([]byte, sectorSize)}
	for i := range 3 {
		n, err := f.TryWriteVec(segments, 0)
		if i < 2 && err != ErrWouldWait || i == 2 && (n != sectorSize || err != nil) {
			t.Errorf("try %d: %d, %v", i, n, err)
		}
	}
}

// TestTryErrors holds that what is wrong is no reason to wait.
func TestTryErrors(t *testing.T) {
	f := tempFile(t, 8*sectorSize)
	if err := os.Truncate(f.path, 0); err != nil {
		t.Fatal(err)
	}
	if n, err := f.TryReadVec([][]byte{make([]byte, sectorSize)}, 0); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d, %v", n, err)
	}
}
