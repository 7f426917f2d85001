package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"
)

// rawEntry lays out an entry from whatever fields a test wants.
func rawEntry(mode, size, nameSize uint32, name, data string) string {
	f := [fieldCount]uint32{fieldMode: mode, fieldLinks: 1, fieldFileSize: size, fieldNameSize: nameSize}
	var b strings.Builder
	b.WriteString(magic)
	for _, v := range f {
		fmt.Fprintf(&b, "%08X", v)
	}
	b.WriteString(name)
	b.WriteString(strings.Repeat("\x00", int(padding(int64(headerSize+len(name))))))
	b.WriteString(data)
	b.WriteString(strings.Repeat("\x00", int(padding(int64(len(data))))))
	return b.String()
}

const rawEnd = "070701" + "00000000000000000000000000000000000000010000000000000000" +
	"00000000000000000000000000000000" + "0000000B" + "00000000" + trailer + "\x00"

func TestReaderRefuses(t *testing.T) {
	const regular = modeRegular | 0o644
	for _, test := range []struct{ name, archive, want string }{
		{"another format", strings.Repeat("070707", 30), "no newc header"},
		{"gzip", "\x1f\x8b" + strings.Repeat("x", 200), "no newc header"},
		{"no number", strings.Replace(rawEntry(regular, 0, 2, "a\x00", ""), "0", "g", 20)[0:6] + "!" + strings.Repeat("0", 200), "no newc header"},
		{"bad digit", magic + "0000000x" + strings.Repeat("0", 200), "field 0 is no hexadecimal number"},
		{"signed digit", magic + "-0000001" + strings.Repeat("0", 200), "field 0 is no hexadecimal number"},
		{"no name", rawEntry(regular, 0, 0, "", ""), "size of name is 0"},
		{"empty name", rawEntry(regular, 0, 1, "\x00", ""), "size of name is 1"},
		{"huge name", rawEntry(regular, 0, 0xffffffff, "a\x00", ""), "size of name is 4294967295"},
		{"unterminated name", rawEntry(regular, 0, 2, "ab", ""), "does not end with its one zero byte"},
		{"zero in name", rawEntry(regular, 0, 4, "a\x00b\x00", ""), "does not end with its one zero byte"},
		{"type", rawEntry(0o170644, 0, 2, "a\x00", ""), `entry "a" at offset 0: unknown file type`},
		{"high mode bits", rawEntry(0x10000|regular, 0, 2, "a\x00", ""), "unknown file type"},
		{"directory with data", rawEntry(modeDir|0o755, 4, 2, "a\x00", "1234"), "4 bytes of data"},
		{"empty link", rawEntry(modeSymlink|0o777, 0, 2, "a\x00", ""), "size of link target is 0"},
		{"huge link", rawEntry(modeSymlink|0o777, 0x80000000, 2, "a\x00", ""), "size of link target is 2147483648"},
		{"zero in link", rawEntry(modeSymlink|0o777, 3, 2, "a\x00", "a\x00b"), "zero byte in link target"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(test.archive))
			_, err := r.Next()
			if _, ok := errors.AsType[*FormatError](err); !ok || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want *FormatError with %q", err, test.want)
			}
			if _, again := r.Next(); again != err {
				t.Errorf("second error is %v, want the first", again)
			}
			if _, again := r.Read(make([]byte, 1)); again != err {
				t.Errorf("Read gave %v, want the first error", again)
			}
		})
	}
}

// TestReaderTruncated cuts an archive at every place. Only before an entry may the end stand for the trailer.
func TestReaderTruncated(t *testing.T) {
	data := sample(t)
	starts := map[int]bool{}
	for i := range data {
		starts[i] = bytes.HasPrefix(data[i:], []byte(magic))
	}
	complete := bytes.Index(data, []byte(trailer)) + len(trailer) + 1
	for n := range complete {
		_, err := readAll(bytes.NewReader(data[:n]))
		switch {
		case starts[n] && err != nil:
			t.Errorf("cut at %d, before an entry: %v", n, err)
		case !starts[n] && err != io.ErrUnexpectedEOF:
			t.Errorf("cut at %d: error is %v, want %v", n, err, io.ErrUnexpectedEOF)
		}
	}
}

func TestReaderSkipsUnreadData(t *testing.T) {
	const regular = modeRegular | 0o644
	archive := rawEntry(regular, 5, 2, "a\x00", "12345") + rawEntry(regular, 3, 2, "b\x00", "678") + rawEnd
	r := NewReader(strings.NewReader(archive))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	h, err := r.Next()
	if err != nil || h.Name != "b" {
		t.Fatalf("second entry is %v, %v", h, err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "678" {
		t.Errorf("its data is %q, %v", data, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the trailer: %v, want io.EOF", err)
	}
}

func TestReaderNames(t *testing.T) {
	for stored, want := range map[string]string{
		".":               ".",
		"/":               ".",
		"/etc/passwd":     "etc/passwd",
		"../../etc":       "etc",
		"./a//b/":         "a/b",
		"a/../../../b":    "b",
		"TRAILER!!!/file": "TRAILER!!!/file",
	} {
		archive := rawEntry(modeDir|0o755, 0, uint32(len(stored)+1), stored+"\x00", "") + rawEnd
		h, err := NewReader(strings.NewReader(archive)).Next()
		if err != nil || h.Name != want {
			t.Errorf("%q is read as %v, %v, want %q", stored, h, err, want)
		}
	}
}

// TestReaderMemory holds that an archive's claims cost nothing.
func TestReaderMemory(t *testing.T) {
	archive := []byte(rawEntry(modeRegular|0o644, 0xffffffff, 2, "a\x00", "little"))
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := NewReader(bytes.NewReader(archive)).Next(); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 2*pathMax {
		t.Errorf("%d bytes allocated to read a header that claims 4 GiB", allocated)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		var total int64
		for {
			h, err := r.Next()
			if err != nil {
				return
			}
			if h.Name == "" || path.Clean(h.Name) != h.Name || path.IsAbs(h.Name) || strings.HasPrefix(h.Name, "../") || h.Name == ".." {
				t.Fatalf("name %q leads out of the root", h.Name)
			}
			if h.Size != 0 && !h.Mode.IsRegular() {
				t.Fatalf("%v has %d bytes", h.Mode, h.Size)
			}
			if (h.Linkname != "") != (h.Mode.Type() == fs.ModeSymlink) || len(h.Linkname) > pathMax {
				t.Fatalf("%v with link target %q", h.Mode, h.Linkname)
			}
			n, err := io.Copy(io.Discard, r)
			if err == nil && n != h.Size {
				t.Fatalf("read %d of %d bytes without an error", n, h.Size)
			}
			if total += n; total > int64(len(data)) {
				t.Fatalf("read %d bytes out of %d", total, len(data))
			}
			checkRewrite(t, h)
		}
	})
}

// checkRewrite holds that what a Reader gives, a Writer takes.
func checkRewrite(t *testing.T, h *Header) {
	t.Helper()
	if h.Name == "." || h.Name == trailer || strings.HasPrefix(h.Name, trailer+"/") {
		return
	}
	w := NewWriter(io.Discard)
	var err error
	switch {
	case h.Mode.IsRegular():
		err = w.WriteFile(h.Name, h.Mode, nil)
	case h.Mode.IsDir():
		err = w.Mkdir(h.Name, h.Mode)
	case h.Mode.Type() == fs.ModeSymlink:
		err = w.Symlink(h.Name, h.Linkname)
	case h.Mode&fs.ModeDevice != 0:
		err = w.Mknod(h.Name, h.Mode, h.Major, h.Minor)
	default:
		err = w.Mknod(h.Name, h.Mode, 0, 0)
	}
	if err != nil {
		t.Fatalf("entry %+v was read but not written: %v", h, err)
	}
}
