package initramfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// sample writes one entry of each kind.
func sample(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, err := range []error{
		w.Mkdir("dev", 0o755),
		w.Mknod("dev/console", fs.ModeDevice|fs.ModeCharDevice|0o600, 5, 1),
		w.Mknod("dev/vda", fs.ModeDevice|0o660, 254, 0),
		w.Mknod("run/fifo", fs.ModeNamedPipe|0o600, 0, 0),
		w.Mknod("run/socket", fs.ModeSocket|0o700, 0, 0),
		w.WriteFile("init", 0o755, []byte("#!/bin/sh\n")),
		w.WriteFile("etc/govmm/start", 0o644|fs.ModeSetuid|fs.ModeSetgid, []byte("12345")),
		w.WriteFile("empty", 0, nil),
		w.Symlink("bin/sh", "../bbin/sh"),
		w.Mkdir("tmp", 0o777|fs.ModeSticky),
		w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

type file struct {
	Header
	data string
}

func readAll(r io.Reader) ([]file, error) {
	var files []file
	for a := NewReader(r); ; {
		h, err := a.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return files, err
		}
		data, err := io.ReadAll(a)
		if err != nil {
			return files, err
		}
		files = append(files, file{*h, string(data)})
	}
}

func TestRoundTrip(t *testing.T) {
	dir := func(name string, mode fs.FileMode, inode uint32) file {
		return file{Header: Header{Name: name, Mode: fs.ModeDir | mode, Inode: inode, Links: 2}}
	}
	want := []file{
		dir("dev", 0o755, 1),
		{Header: Header{Name: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1, Inode: 2, Links: 1}},
		{Header: Header{Name: "dev/vda", Mode: fs.ModeDevice | 0o660, Major: 254, Inode: 3, Links: 1}},
		dir("run", 0o755, 4),
		{Header: Header{Name: "run/fifo", Mode: fs.ModeNamedPipe | 0o600, Inode: 5, Links: 1}},
		{Header: Header{Name: "run/socket", Mode: fs.ModeSocket | 0o700, Inode: 6, Links: 1}},
		{Header: Header{Name: "init", Mode: 0o755, Size: 10, Inode: 7, Links: 1}, data: "#!/bin/sh\n"},
		dir("etc", 0o755, 8),
		dir("etc/govmm", 0o755, 9),
		{Header: Header{Name: "etc/govmm/start", Mode: 0o644 | fs.ModeSetuid | fs.ModeSetgid, Size: 5, Inode: 10, Links: 1}, data: "12345"},
		{Header: Header{Name: "empty", Inode: 11, Links: 1}},
		dir("bin", 0o755, 12),
		{Header: Header{Name: "bin/sh", Mode: fs.ModeSymlink | 0o777, Linkname: "../bbin/sh", Inode: 13, Links: 1}},
		dir("tmp", 0o777|fs.ModeSticky, 14),
	}
	data := sample(t)
	for _, r := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data))} {
		got, err := readAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("read %d entries, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("entry %d is\n%+v, want\n%+v", i, got[i], want[i])
			}
		}
	}
}

// TestFormat compares with an archive laid out by hand from buffer-format.rst.
func TestFormat(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := errors.Join(w.WriteFile("/a/b", 0o644, []byte("hello")), w.Close()); err != nil {
		t.Fatal(err)
	}
	const (
		eight = "00000000"
		//              ino        mode       uid     gid     nlink      mtime
		dirHead  = "00000001" + "000041ed" + eight + eight + "00000002" + eight
		fileHead = "00000002" + "000081a4" + eight + eight + "00000001" + eight
		endHead  = eight + eight + eight + eight + "00000001" + eight
		// device of the archive and of a node
		device = eight + eight + eight + eight
	)
	want := "070701" + dirHead + "00000000" + device + "00000002" + eight + "a\x00" +
		"070701" + fileHead + "00000005" + device + "00000004" + eight + "a/b\x00" + "\x00\x00" +
		"hello\x00\x00\x00" +
		"070701" + endHead + "00000000" + device + "0000000b" + eight + "TRAILER!!!\x00" + "\x00\x00\x00"
	if got := b.String(); got != want {
		t.Errorf("archive is\n%q, want\n%q", got, want)
	}
}

func TestDeterministic(t *testing.T) {
	if !bytes.Equal(sample(t), sample(t)) {
		t.Error("two archives of the same calls differ")
	}
}

func TestWriterErrors(t *testing.T) {
	long := strings.Repeat("n/", pathMax)
	for _, test := range []struct {
		name string
		add  func(*Writer) error
		want error
	}{
		{"file twice", func(w *Writer) error { return w.WriteFile("./f", 0o644, nil) }, fs.ErrExist},
		{"directory over file", func(w *Writer) error { return w.Mkdir("f", 0o755) }, fs.ErrExist},
		{"file over directory", func(w *Writer) error { return w.WriteFile("d", 0o644, nil) }, fs.ErrExist},
		{"below a file", func(w *Writer) error { return w.WriteFile("f/x/y", 0o644, nil) }, syscall.ENOTDIR},
		{"below a link", func(w *Writer) error { return w.WriteFile("l/x", 0o644, nil) }, syscall.ENOTDIR},
		{"root", func(w *Writer) error { return w.Mkdir("../", 0o755) }, fs.ErrInvalid},
		{"empty name", func(w *Writer) error { return w.WriteFile("", 0o644, nil) }, fs.ErrInvalid},
		{"trailer", func(w *Writer) error { return w.WriteFile("/TRAILER!!!", 0o644, nil) }, fs.ErrInvalid},
		{"below the trailer", func(w *Writer) error { return w.WriteFile("TRAILER!!!/f", 0o644, nil) }, fs.ErrInvalid},
		{"long name", func(w *Writer) error { return w.WriteFile(long, 0o644, nil) }, fs.ErrInvalid},
		{"zero in name", func(w *Writer) error { return w.WriteFile("a\x00b", 0o644, nil) }, fs.ErrInvalid},
		{"directory as file", func(w *Writer) error { return w.WriteFile("x", fs.ModeDir, nil) }, fs.ErrInvalid},
		{"pipe as directory", func(w *Writer) error { return w.Mkdir("x", fs.ModeNamedPipe) }, fs.ErrInvalid},
		{"file as node", func(w *Writer) error { return w.Mknod("x", 0o644, 0, 0) }, fs.ErrInvalid},
		{"pipe with a number", func(w *Writer) error { return w.Mknod("x", fs.ModeNamedPipe, 0, 1) }, fs.ErrInvalid},
		{"link to nothing", func(w *Writer) error { return w.Symlink("x", "") }, fs.ErrInvalid},
		{"long link", func(w *Writer) error { return w.Symlink("x", long) }, fs.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			w := NewWriter(&b)
			if err := errors.Join(w.WriteFile("f", 0o644, nil), w.Mkdir("d", 0o755), w.Symlink("l", "d")); err != nil {
				t.Fatal(err)
			}
			before := b.Len()
			err := test.add(w)
			if _, ok := errors.AsType[*fs.PathError](err); !ok || !errors.Is(err, test.want) {
				t.Errorf("error is %v, want *fs.PathError with %v", err, test.want)
			}
			if b.Len() != before {
				t.Error("the refused entry changed the archive")
			}
			if err := errors.Join(w.WriteFile("d/later", 0o644, nil), w.Close()); err != nil {
				t.Errorf("after the refused entry: %v", err)
			}
			if err := w.WriteFile("closed", 0o644, nil); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("WriteFile after Close gave %v, want fs.ErrClosed", err)
			}
		})
	}
}

func TestWriterReturnsFirstWriteError(t *testing.T) {
	w := NewWriter(failingWriter{})
	for range 2 {
		if err := w.Mkdir("d", 0o755); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Mkdir gave %v, want ENOSPC", err)
		}
	}
	if err := w.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close gave %v, want ENOSPC", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// unpackByCPIO has the system's cpio unpack an archive, where there is one; TestFormat holds the layout without it. It
// gives the directory, or nothing.
func unpackByCPIO(t *testing.T, add func(*Writer) error) string {
	t.Helper()
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Log("no cpio on this system: nothing to compare with")
		return ""
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := errors.Join(add(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cpio, "-i", "-d", "--no-absolute-filenames")
	cmd.Dir, cmd.Stdin = t.TempDir(), &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	return cmd.Dir
}

func TestCPIO(t *testing.T) {
	dir := unpackByCPIO(t, func(w *Writer) error {
		return errors.Join(w.WriteFile("a/b", 0o640, []byte("hello")), w.Symlink("a/l", "b"))
	})
	if dir == "" {
		return
	}
	checkSame(t, dir, "hello", "a/b", "a/l")
	if info, err := os.Stat(filepath.Join(dir, "a/b")); err != nil || info.Mode() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// checkSame holds that all names below dir lead to one file with the given data.
func checkSame(t *testing.T, dir, want string, names ...string) {
	t.Helper()
	first, err := os.Stat(filepath.Join(dir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if data, err := os.ReadFile(path); err != nil || string(data) != want {
			t.Errorf("%s has %q, %v", name, data, err)
		}
		if info, err := os.Stat(path); err != nil || !os.SameFile(info, first) {
			t.Errorf("%s is not the same file as %s, %v", name, names[0], err)
		}
	}
}
