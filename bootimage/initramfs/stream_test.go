package initramfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// TestWriteFileFrom compares with WriteFile, byte for byte.
func TestWriteFileFrom(t *testing.T) {
	var whole, streamed bytes.Buffer
	a, b := NewWriter(&whole), NewWriter(&streamed)
	for _, data := range []string{"", "1", "12345678", strings.Repeat("x", 100_001)} {
		name := "d" + data[:min(len(data), 3)] + "/file"
		mode := 0o640 | fs.ModeSetgid
		source := iotest.OneByteReader(strings.NewReader(data + "more"))
		if err := errors.Join(a.WriteFile(name, mode, []byte(data)), b.WriteFileFrom(name, mode, int64(len(data)), source)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole.Bytes(), streamed.Bytes()) {
		t.Error("the archives differ")
	}
}

func TestLinksAndOwners(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.SetOwner(1000, 100)
	err := w.WriteFileFrom("a/f", 0o644, 5, strings.NewReader("hello"), "./f", "b/f")
	err = errors.Join(err, w.Mkdir("a", 0o700), w.Symlink("l", "x"))
	w.SetOwner(0, 0)
	if err := errors.Join(err, w.WriteFile("g", 0o644, nil), w.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(&b)
	if err != nil {
		t.Fatal(err)
	}
	link := Header{Mode: 0o644, UID: 1000, GID: 100, Inode: 2, Links: 3}
	named := func(name string, size int64) Header {
		h := link
		h.Name, h.Size = name, size
		return h
	}
	want := []file{
		{Header: Header{Name: "a", Mode: fs.ModeDir | 0o755, Inode: 1, Links: 2}},
		{Header: named("a/f", 0)},
		{Header: named("f", 0)},
		{Header: Header{Name: "b", Mode: fs.ModeDir | 0o755, Inode: 3, Links: 2}},
		{Header: named("b/f", 5), data: "hello"},
		{Header: Header{Name: "a", Mode: fs.ModeDir | 0o700, UID: 1000, GID: 100, Inode: 4, Links: 2}},
		{Header: Header{Name: "l", Mode: fs.ModeSymlink | 0o777, Linkname: "x", UID: 1000, GID: 100, Inode: 5, Links: 1}},
		{Header: Header{Name: "g", Mode: 0o644, Inode: 6, Links: 1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the archive has\n%+v, want\n%+v", got, want)
	}
}

func TestWriteFileFromRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		mode  fs.FileMode
		size  int64
		names []string
		want  error
	}{
		{"directory", fs.ModeDir, 1, []string{"x"}, errMode},
		{"negative size", 0, -1, []string{"x"}, errNegative},
		{"4 GiB", 0, 1 << 32, []string{"x"}, errSize},
		{"name twice", 0, 1, []string{"n/x", "n/./x"}, fs.ErrExist},
		{"below itself", 0, 1, []string{"x", "x/y"}, syscall.ENOTDIR},
		{"above itself", 0, 1, []string{"x/y/z", "x"}, fs.ErrExist},
		{"link there already", 0, 1, []string{"x", "f"}, fs.ErrExist},
		{"link to the root", 0, 1, []string{"x", "/"}, errRoot},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			w := NewWriter(&b)
			if err := w.WriteFile("f", 0o644, nil); err != nil {
				t.Fatal(err)
			}
			before := b.Len()
			err := w.WriteFileFrom(test.names[0], test.mode, test.size, strings.NewReader("1"), test.names[1:]...)
			if _, ok := errors.AsType[*fs.PathError](err); !ok || !errors.Is(err, test.want) {
				t.Errorf("error is %v, want *fs.PathError with %v", err, test.want)
			}
			if b.Len() != before || len(w.entries) != 2 {
				t.Error("the refused file changed the archive")
			}
			if err := errors.Join(w.WriteFile("n/x", 0o644, nil), w.WriteFile("x/y/z", 0, nil), w.Close()); err != nil {
				t.Errorf("after the refused file: %v", err)
			}
			if err := w.WriteFileFrom("c", 0, 0, nil); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("after Close: %v, want fs.ErrClosed", err)
			}
		})
	}
}

// TestSourceFails has a file's data end early, or be an error: both break the archive.
func TestSourceFails(t *testing.T) {
	for want, source := range map[error]io.Reader{
		io.ErrUnexpectedEOF: strings.NewReader("1234"),
		syscall.EIO:         iotest.ErrReader(syscall.EIO),
	} {
		w := NewWriter(io.Discard)
		err := w.WriteFileFrom("f", 0o644, 5, source)
		if p, ok := errors.AsType[*fs.PathError](err); !ok || p.Path != "f" || !errors.Is(err, want) {
			t.Errorf("error is %v, want *fs.PathError with %v", err, want)
		}
		if again := w.Mkdir("d", 0o755); again != err {
			t.Errorf("later call gave %v, want the first error", again)
		}
		if again := w.Close(); again != err {
			t.Errorf("Close gave %v, want the first error", again)
		}
	}
}

func TestLinksOfCPIO(t *testing.T) {
	if out := unpackByCPIO(t, func(w *Writer) error {
		return w.WriteFileFrom("a/b", 0o640, 5, strings.NewReader("hello"), "c", "a/d")
	}); out != "" {
		checkSame(t, out, "hello", "a/b", "c", "a/d")
	}
}
