package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"govmm/bootimage/initramfs"
)

// item is a header with its data.
type item struct {
	tar.Header
	data string
}

func file(name, data string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}, data}
}

func dir(name string, mode int64) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}, ""}
}

func symlink(name, target string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, ""}
}

func hardLink(name, target string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""}
}

func node(name string, flag byte) item {
	return item{tar.Header{Name: name, Typeflag: flag, Mode: 0o600}, ""}
}

func owned(i item, uid, gid int) item {
	i.Uid, i.Gid = uid, gid
	return i
}

func makeTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if err := w.WriteHeader(&i.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// listing is an archive as text, a line for each entry.
func listing(t testing.TB, archive []byte) []string {
	t.Helper()
	var lines []string
	inodes := make(map[uint32]string)
	for r := initramfs.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%v %d:%d %s", h.Mode, h.UID, h.GID, h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if len(data) > 0 {
			line += fmt.Sprintf(" %q", data)
		}
		if h.Links > 1 && h.Mode.IsRegular() {
			if first, ok := inodes[h.Inode]; ok {
				line += " = " + first
			} else {
				inodes[h.Inode] = h.Name
			}
		}
		lines = append(lines, line)
	}
}

// convert writes the root file system at path, and gives the finished archive.
func convert(path string, o Options) ([]byte, Report, error) {
	var b bytes.Buffer
	w := initramfs.NewWriter(&b)
	r, err := Write(w, path, o)
	if err != nil {
		return nil, r, err
	}
	return b.Bytes(), r, w.Close()
}

func store(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the archive has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTar(t *testing.T) {
	long := "usr/" + strings.Repeat("long/", 60) + "name"
	for _, test := range []struct {
		name  string
		items []item
		want  []string
	}{
		{"all kinds", []item{
			dir("./", 0o700), file("./z", "last"), owned(dir("./bin/", 0o1777), 1, 2), owned(file("bin/su", "#!"), 1000, 100),
			symlink("lib", "/usr/../../lib"), node("pipe", tar.TypeFifo), {tar.Header{Name: "sgid", Typeflag: tar.TypeReg, Mode: 0o6755}, ""},
		}, []string{
			"dtrwxrwxrwx 1:2 bin", "Lrwxrwxrwx 0:0 lib -> /usr/../../lib", "prw------- 0:0 pipe",
			`-rw-r--r-- 0:0 z "last"`, `-rw-r--r-- 1000:100 bin/su "#!"`, "ugrwxr-xr-x 0:0 sgid",
		}},
		{"parents that are missing or late", []item{owned(file("a/b/f", "1"), 5, 5), dir("a", 0o700)}, []string{
			"drwx------ 0:0 a", "drwxr-xr-x 0:0 a/b", `-rw-r--r-- 5:5 a/b/f "1"`,
		}},
		{"later wins", []item{
			file("f", "old"), file("f", "new"), file("l", "old"), symlink("l", "x"), dir("d", 0o755), file("d", "1"),
			symlink("e", "x"), dir("e", 0o755), file("e/f", "2"), dir("m", 0o700), file("m/f", "3"), dir("m", 0o755),
		}, []string{
			"drwxr-xr-x 0:0 e", "drwxr-xr-x 0:0 m", "Lrwxrwxrwx 0:0 l -> x",
			`-rw-r--r-- 0:0 f "new"`, `-rw-r--r-- 0:0 d "1"`, `-rw-r--r-- 0:0 e/f "2"`, `-rw-r--r-- 0:0 m/f "3"`,
		}},
		{"hard links", []item{
			file("b", "data"), hardLink("c", "./b"), hardLink("d/a", "c"), hardLink("b", "b"), symlink("s", "b"), hardLink("s2", "s"),
		}, []string{
			"drwxr-xr-x 0:0 d", "Lrwxrwxrwx 0:0 s -> b", "Lrwxrwxrwx 0:0 s2 -> b",
			"-rw-r--r-- 0:0 b", "-rw-r--r-- 0:0 c = b", `-rw-r--r-- 0:0 d/a "data" = b`,
		}},
		{"hard link to what is replaced", []item{file("b", "old"), hardLink("c", "b"), file("b", "new")}, []string{
			`-rw-r--r-- 0:0 c "old"`, `-rw-r--r-- 0:0 b "new"`,
		}},
		{"long names", []item{
			file(long, "1"), symlink("l", strings.Repeat("t", 300)),
		}, append(parentsOf(long), "Lrwxrwxrwx 0:0 l -> "+strings.Repeat("t", 300), "-rw-r--r-- 0:0 "+long+` "1"`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			archive, report, err := convert(store(t, makeTar(t, test.items...)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, listing(t, archive), test.want)
			if report.Entries != len(test.want) || report.Warning() != "" {
				t.Errorf("report is %+v", report)
			}
		})
	}
}

func parentsOf(name string) (lines []string) {
	for i, c := range name {
		if c == '/' {
			lines = append(lines, "drwxr-xr-x 0:0 "+name[:i])
		}
	}
	lines[0] = "drwxr-xr-x 0:0 usr"
	return lines
}

func TestTarSkips(t *testing.T) {
	path := store(t, makeTar(t,
		node("dev/null", tar.TypeChar), node("dev/vda", tar.TypeBlock), node("dev/a\nb", tar.TypeChar), node("dev/zero", tar.TypeChar),
		hardLink("null", "dev/null"), item{tar.Header{Name: "label", Typeflag: 'V'}, ""}, node("gone", tar.TypeChar), file("gone", "1")))
	archive, report, err := convert(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, listing(t, archive), []string{"drwxr-xr-x 0:0 dev", `-rw-r--r-- 0:0 gone "1"`})
	const want = `left out: device nodes ("dev/a\nb", "dev/null", "dev/vda" and 2 more), entries of unknown type ("label")`
	if report.Warning() != want || report.Entries != 2 || report.Bytes != 1 {
		t.Errorf("report is %+v, %q, want %q", report, report.Warning(), want)
	}
}

func zipped(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

func TestCompressed(t *testing.T) {
	plain := makeTar(t, dir("d", 0o755), file("d/f", strings.Repeat("data", 1000)))
	want, _, err := convert(store(t, plain), Options{})
	if err != nil {
		t.Fatal(err)
	}
	xz, err := os.ReadFile("testdata/small.tar.xz")
	if err != nil {
		t.Fatal(err)
	}
	half := zipped(t, plain[:700])
	for name, data := range map[string][]byte{
		"gzip": zipped(t, plain), "zstd": zstded(t, plain), "gzip in two parts": append(half, zipped(t, plain[700:])...),
	} {
		got, _, err := convert(store(t, data), Options{})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v, want the %d bytes of the plain archive", name, len(got), err, len(want))
		}
	}
	got, _, err := convert(store(t, xz), Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, listing(t, got), []string{"drwxr-xr-x 0:0 d", `-rw-r--r-- 0:0 d/f "hello\n"`})
}

func TestTarRefused(t *testing.T) {
	good := makeTar(t, file("f", strings.Repeat("data", 1000)))
	flipped := zipped(t, good)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	many := make([]item, 300)
	for i := range many {
		many[i] = file(fmt.Sprintf("%s%d", strings.Repeat("n", 4000), i), "")
	}
	huge := item{tar.Header{Name: "h", Typeflag: tar.TypeReg, Size: 4 << 30}, ""}
	tars := func(items ...item) []byte { return makeTar(t, items...) }
	for _, test := range []struct {
		name string
		data []byte
		o    Options
		want string
	}{
		{"absolute name", tars(file("/etc/passwd", "")), Options{}, `"/etc/passwd": the name is absolute`},
		{"name that leads out", tars(file("a/../../b", "")), Options{}, `"a/../../b": the name has ".." in it`},
		{"long name", tars(file(strings.Repeat("n/", 2100)+"n", "")), Options{}, `"` + strings.Repeat("n/", 100) + `"...: the name is longer than 4095 bytes`},
		{"the trailer's name", tars(file("TRAILER!!!", "")), Options{}, `"TRAILER!!!": invalid argument: name is that of the trailer`},
		{"the trailer's name for a parent", tars(file("TRAILER!!!/f", "")), Options{}, `"TRAILER!!!": invalid argument: name is that of the trailer`},
		{"root as a file", tars(file("./.", "")), Options{}, `"./.": the root is no directory`},
		{"through a symbolic link", tars(symlink("l", "/etc"), file("l/x/y", "")), Options{}, `"l/x/y": it leads through "l", which is a symbolic link`},
		{"through a file", tars(file("f\n", ""), file("f\n/x", "")), Options{}, `"f\n/x": it leads through "f\n", which is no directory`},
		{"through a device", tars(node("d", tar.TypeBlock), file("d/x", "")), Options{}, `"d/x": it leads through "d", which is no directory`},
		{"link for a full directory", tars(file("d/x", ""), symlink("d", "/")), Options{}, `"d": it replaces a directory that is not empty`},
		{"hard link to nothing", tars(hardLink("a", "b"), file("b", "")), Options{}, `"a": hard link to "b", which the archive does not have before it`},
		{"hard link out", tars(hardLink("a", "../b")), Options{}, `"a": hard link to "../b": the name has ".." in it`},
		{"absolute hard link", tars(file("b", ""), hardLink("a", "/b")), Options{}, `"a": hard link to "/b": the name is absolute`},
		{"hard link to a directory", tars(dir("d", 0o755), hardLink("a", "d")), Options{}, `"a": hard link to "d", which is a directory`},
		{"hard link to the root", tars(hardLink("a", ".")), Options{}, `"a": hard link to ".", which is a directory`},
		{"long target", tars(symlink("l", strings.Repeat("t", 4096))), Options{}, `"l": the target of a symbolic link has 4096 bytes, not 1 to 4095`},
		{"owner", tars(owned(file("f", ""), 1<<32-1, 0)), Options{}, `"f": owner 4294967295:0 does not fit in 32 bits`},
		{"large file", header(t, huge), Options{}, `"h": larger than 4 GiB - 1 byte`},
		{"too much data", tars(file("a", "12345"), file("a", "123456")), Options{MaxBytes: 10}, `"a": its files have more than 10 bytes`},
		{"too many entries", tars(file("a", ""), file("b", ""), file("c", "")), Options{MaxEntries: 2}, "more than 2 entries"},
		{"too many parents", tars(file("a/b/c", "")), Options{MaxEntries: 2}, `"a/b/c": more than 2 entries`},
		{"too many headers", tars(file("a", ""), file("a", ""), file("a", "")), Options{MaxEntries: 2}, "more than 2 entries"},
		{"too many names", tars(many...), Options{MaxEntries: 300}, `more than 1125376 bytes of names`},
		{"gzip bomb", zipped(t, header(t, node("x", 'Z'), 2<<20)), Options{MaxBytes: 1, MaxEntries: 1}, "it unpacks to more than 1052673 bytes"},
		{"sparse bomb", sparse(t, 1<<31), Options{MaxBytes: 1 << 30}, `"sparse": its files have more than 1073741824 bytes`},
		{"nothing", nil, Options{}, "an archive without entries"},
		{"zeros", make([]byte, 10240), Options{}, "an archive without entries"},
		{"another format", bytes.Repeat([]byte("#!/bin/sh\n"), 100), Options{}, "neither a directory nor a tar archive: archive/tar: invalid tar header"},
		{"cut short", good[:700], Options{}, "the archive is cut short: unexpected EOF"},
		{"gzip cut short", zipped(t, good)[:60], Options{}, "the archive is cut short: unexpected EOF"},
		{"gzip's checksum", flipped, Options{}, "gzip: invalid checksum"},
		{"bzip2", []byte("BZh91AY&SY"), Options{}, "compressed by bzip2, which is not supported; gzip, zstd and xz are"},
		{"gzip of nothing", []byte("\x1f\x8b\x08"), Options{}, "compressed by gzip: unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := store(t, test.data)
			_, _, err := convert(path, test.o)
			if err == nil || err.Error() != path+": "+test.want {
				t.Errorf("error is\n%v, want\n%v", err, path+": "+test.want)
			}
		})
	}
}

// header gives the bytes of an entry's header, followed by as many zeros as wanted.
func header(t *testing.T, i item, zeros ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, n := range zeros {
		i.Size = int64(n)
	}
	if err := tar.NewWriter(&b).WriteHeader(&i.Header); err != nil {
		t.Fatal(err)
	}
	for _, n := range zeros {
		b.Write(make([]byte, n))
	}
	return b.Bytes()
}

// sparse is an archive of one file, in the format that GNU tar --sparse has, which is a hole of size bytes.
func sparse(t *testing.T, size int64) []byte {
	t.Helper()
	h := header(t, node("sparse", tar.TypeFifo))[:512]
	h[156] = tar.TypeGNUSparse
	copy(h[257:], "ustar  \x00")
	clear(h[345:512])
	copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", size, 0)) // the map: where the end is
	copy(h[483:], fmt.Sprintf("%011o\x00", size))
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return append(h, make([]byte, 1024)...)
}

func TestSparse(t *testing.T) {
	archive, report, err := convert(store(t, sparse(t, 5000)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, listing(t, archive), []string{fmt.Sprintf("-rw------- 0:0 sparse %q", make([]byte, 5000))})
	if report.Bytes != 5000 {
		t.Errorf("%d bytes are reported, want 5000", report.Bytes)
	}
}

// TestTarChanges has an archive become another one before it is read for the data.
func TestTarChanges(t *testing.T) {
	first := makeTar(t, file("a", "1"), file("b", "2"))
	for name, second := range map[string][]byte{
		"name": makeTar(t, file("a", "1"), file("c", "2")),
		"size": makeTar(t, file("a", "1"), file("b", "22")),
		"type": makeTar(t, file("a", "1"), dir("b", 0o755)),
		"end":  makeTar(t, file("a", "1")),
	} {
		f := &changing{bytes.NewReader(first), bytes.NewReader(second), 0}
		if err := writeTar(&output{sink: archive{initramfs.NewWriter(io.Discard)}}, f, Options{}); !errors.Is(err, errChanged) {
			t.Errorf("%s: error is %v, want %v", name, err, errChanged)
		}
	}
}

// changing is another file when it is begun again; a stream is begun by two seeks, and tar seeks too.
type changing struct {
	io.ReadSeeker
	next   io.ReadSeeker
	begins int
}

func (c *changing) Seek(off int64, whence int) (int64, error) {
	if off == 0 && whence == io.SeekStart {
		if c.begins++; c.begins == 3 {
			c.ReadSeeker = c.next
		}
	}
	return c.ReadSeeker.Seek(off, whence)
}

func TestNameTaken(t *testing.T) {
	w := initramfs.NewWriter(io.Discard)
	if err := w.WriteFile("init", 0o755, nil); err != nil {
		t.Fatal(err)
	}
	_, err := Write(w, store(t, makeTar(t, file("init", ""))), Options{})
	if !errors.Is(err, fs.ErrExist) || !strings.HasSuffix(err.Error(), `: "init": file already exists`) {
		t.Errorf("error is %v", err)
	}
}
