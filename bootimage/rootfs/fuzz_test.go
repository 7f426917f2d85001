package rootfs

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"strings"
	"testing"

	"govmm/bootimage/initramfs"
)

// FuzzTar converts any data. What comes out keeps the limits, reads back as it was reported, and stays inside.
func FuzzTar(f *testing.F) {
	all := makeTar(f, dir("d", 0o1777), owned(file("d/f", "data"), 1, 2), hardLink("e/g", "d/f"), symlink("l", "../.."), node("p", tar.TypeFifo),
		node("c", tar.TypeChar), file("d/f", "new"), file(strings.Repeat("long/", 40)+"f", "1"))
	for _, seed := range [][]byte{
		all, zipped(f, all), zstded(f, all), all[:1000],
		makeTar(f, symlink("l", "/etc"), file("l/passwd", "")), makeTar(f, file("../f", "")), makeTar(f, hardLink("a", "/b")),
	} {
		f.Add(seed)
	}
	o := Options{MaxBytes: 1 << 20, MaxEntries: 1000}
	f.Fuzz(func(t *testing.T, data []byte) {
		var b bytes.Buffer
		w := initramfs.NewWriter(&b)
		out := &output{sink: archive{w}}
		err := writeTar(out, bytes.NewReader(data), o)
		if n := int64(b.Len()); n > o.stream() {
			t.Fatalf("%d bytes of output", n)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("error of several lines: %q", err)
			}
			return
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		checkArchive(t, &b, out.report)
	})
}

// FuzzExtract holds that whatever is in an archive, nothing is made outside of the directory that it is unpacked into.
func FuzzExtract(f *testing.F) {
	f.Add(makeTar(f, symlink("l", "../.."), file("l/f", ""), hardLink("e/g", "l"), node("p", tar.TypeFifo)))
	f.Add(makeTar(f, dir("d", 0), file("../f", ""), hardLink("a", "/b")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := extract(t, data); err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("error of several lines: %q", err)
		}
	})
}

func checkArchive(t *testing.T, archive io.Reader, report Report) {
	t.Helper()
	r := initramfs.NewReader(archive)
	dirs := map[string]bool{".": true}
	seen := make(map[string]bool)
	var total int64
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if path.Clean("/"+h.Name) != "/"+h.Name || seen[h.Name] || !dirs[path.Dir(h.Name)] {
			t.Fatalf("entry %q is outside, there twice or in no directory", h.Name)
		}
		seen[h.Name] = true
		if h.Mode.IsDir() {
			dirs[h.Name] = true
		}
		total += h.Size
	}
	if len(seen) != report.Entries || total != report.Bytes {
		t.Fatalf("%d entries, %d bytes, but the report is %+v", len(seen), total, report)
	}
}
