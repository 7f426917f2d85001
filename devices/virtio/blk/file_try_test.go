package blk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
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
