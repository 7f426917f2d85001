package blk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tempPath makes an image of the given size whose sectors differ.
func tempPath(t testing.TB, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i>>sectorShift) + 1
	}
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tempFile(t testing.TB, size int) *File {
	t.Helper()
	return mustOpen(t, tempPath(t, size), false)
}

func mustOpen(t testing.TB, path string, readOnly bool) *File {
	t.Helper()
	f, err := OpenFile(path, readOnly)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOpenFileErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, n int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, want string }{
		{filepath.Join(dir, "none"), "no such file"},
		{dir, "is a directory"},
		{fifo, "neither a regular file nor a block device"},
		{"/dev/null", "neither a regular file nor a block device"},
		{write("empty", 0), "is empty (give it a size: truncate"},
		{write("odd", 1000), "size 1000 is not a multiple of 512"},
	} {
		for _, readOnly := range []bool{false, true} {
			f, err := OpenFile(test.path, readOnly)
			if err == nil {
				f.Close()
				t.Errorf("OpenFile(%s, %v) worked", test.path, readOnly)
				continue
			}
			if s := err.Error(); !strings.Contains(s, test.want) || !strings.Contains(s, test.path) || strings.Contains(s, "\n") {
				t.Errorf("OpenFile(%s, %v): %q does not say %q", test.path, readOnly, s, test.want)
			}
		}
	}
	if _, err := OpenFile(filepath.Join(dir, "none"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestOpenErrorNamesTheRemedy(t *testing.T) {
	for _, errno := range []error{unix.EACCES, unix.EPERM, unix.EROFS, unix.ETXTBSY} {
		if err := openError("x.img", false, errno); !strings.Contains(err.Error(), `open it with ",ro"`) || !errors.Is(err, errno) {
			t.Errorf("%v", err)
		}
		if err := openError("x.img", true, errno); strings.Contains(err.Error(), ",ro") {
			t.Errorf("opened read-only: %v", err)
		}
	}
}

func TestLocks(t *testing.T) {
	for _, test := range []struct {
		first, second bool // read-only
		conflict      bool
	}{{false, false, true}, {false, true, true}, {true, false, true}, {true, true, false}} {
		path := tempPath(t, sectorSize)
		first := mustOpen(t, path, test.first)
		second, err := OpenFile(path, test.second)
		if (err != nil) != test.conflict || test.conflict && !errors.Is(err, ErrInUse) {
			t.Errorf("%+v: %v", test, err)
		}
		if err == nil {
			second.Close()
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		if err := first.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		mustOpen(t, path, test.second)
	}
}

func TestFileReadWrite(t *testing.T) {
	f := tempFile(t, 4096*sectorSize)
	if info := f.Info(); info.Size != 4096*sectorSize || info.ReadOnly {
		t.Errorf("%+v", info)
	}
	// More segments than one system call takes, with empty ones between.
	var segments [][]byte
	want := bytes.Repeat([]byte("0123456789abcdef"), 2*sectorSize)
	for i := 0; i < len(want); i += 8 {
		segments = append(segments, want[i:i+8], nil)
	}
	if n, err := f.WriteVec(segments, 3*sectorSize); n != len(want) || err != nil {
		t.Fatalf("WriteVec: %d, %v", n, err)
	}
	got := make([]byte, len(want))
	for i := range segments {
		segments[i] = nil
		if i%2 == 0 {
			segments[i] = got[4*i : 4*i+8]
		}
	}
	if n, err := f.ReadVec(segments, 3*sectorSize); n != len(got) || err != nil || !bytes.Equal(got, want) {
		t.Fatalf("ReadVec: %d, %v, or wrong data", n, err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
}

// TestTruncatedUnderneath reads across the end of an image that somebody made
// shorter while it was in use.
func TestTruncatedUnderneath(t *testing.T) {
	path := tempPath(t, 8*sectorSize)
	f := mustOpen(t, path, false)
	if err := os.Truncate(path, 3*sectorSize); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2*sectorSize)
	n, err := f.ReadVec([][]byte{p[:100], p[100:]}, 2*sectorSize)
	if n != sectorSize || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadVec: %d, %v", n, err)
	}
}

func TestZero(t *testing.T) {
	for _, mode := range []ZeroMode{Discard, ZeroUnmap, ZeroKeep} {
		f := tempFile(t, 64*sectorSize)
		if err := f.Zero(8*sectorSize, 16*sectorSize, mode); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 64*sectorSize)
		if _, err := f.ReadVec([][]byte{p}, 0); err != nil {
			t.Fatal(err)
		}
		if p[8*sectorSize-1] != 8 || p[24*sectorSize] != 25 {
			t.Errorf("mode %d: neighbours changed", mode)
		}
		if mode != Discard && !bytes.Equal(p[8*sectorSize:24*sectorSize], make([]byte, 16*sectorSize)) {
			t.Errorf("mode %d: range is not zero", mode)
		}
	}
}

// TestWriteZeroes is what Zero does where the file system cannot.
func TestWriteZeroes(t *testing.T) {
	f := tempFile(t, 1024*sectorSize)
	const off, n = 3 * sectorSize, 300 * sectorSize
	if err := f.writeZeroes(off, n); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1024*sectorSize)
	if _, err := f.ReadVec([][]byte{p}, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p[off:off+n], make([]byte, n)) || p[off-1] == 0 || p[off+n] == 0 {
		t.Error("wrong range is zero")
	}
}

// TestConsume continues short transfers at every byte.
func TestConsume(t *testing.T) {
	data := []byte("abcdefghij")
	for n := range len(data) + 1 {
		vector := make([]unix.Iovec, 3)
		for i, s := range [][]byte{data[:3], data[3:4], data[4:]} {
			vector[i].Base = &s[0]
			vector[i].SetLen(len(s))
		}
		rest := consume(vector, uint64(n))
		left := 0
		for _, v := range rest {
			left += int(v.Len)
		}
		if left != len(data)-n || n < len(data) && *rest[0].Base != data[n] {
			t.Errorf("after %d bytes %d are left", n, left)
		}
	}
}

// TestZeroFreesSpace holds discards to their purpose, on file systems that can
// punch holes: a direct call says whether this is one.
func TestZeroFreesSpace(t *testing.T) {
	blocks := func(f *File) int64 {
		var st unix.Stat_t
		if err := unix.Fstat(f.fd, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	const size = 1 << 20
	probe := tempFile(t, size)
	err := unix.Fallocate(probe.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, size)
	for _, mode := range []ZeroMode{Discard, ZeroUnmap} {
		f := tempFile(t, size)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		before := blocks(f)
		if err := f.Zero(size/2, size/2, mode); err != nil {
			t.Fatal(err)
		}
		if freed := blocks(f) < before; freed != (err == nil) {
			t.Errorf("mode %d: space freed is %v, punching a hole directly gave %v", mode, freed, err)
		}
		if info, _ := os.Stat(f.path); info.Size() != size {
			t.Errorf("mode %d: size is now %d", mode, info.Size())
		}
	}
}
