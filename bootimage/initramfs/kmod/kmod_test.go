package kmod

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmm/bootimage/initramfs/kmod/kmodtest"
)

func tree(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const magic = "vermagic=6.1.0-test SMP preempt"

func compressed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestResolve(t *testing.T) {
	dir := tree(t, map[string][]byte{
		"modules.builtin":                         []byte("kernel/lib/crc16.ko\nkernel/drivers/virtio/virtio-ring.ko\n"),
		"kernel/fs/ext4/ext4.ko":                  kmodtest.Module("license=GPL", "depends=jbd2,crc16,mbcache", magic),
		"kernel/fs/jbd2/jbd2.ko.gz":               compressed(t, kmodtest.Module("depends=", magic)),
		"kernel/fs/mbcache.ko":                    kmodtest.Module(magic, "depends=jbd2"),
		"kernel/drivers/char/hw_random/v-rng.ko":  kmodtest.Module("depends=virtio_ring,loop_a", magic),
		"updates/loop-a.ko":                       kmodtest.Module("depends=loop_b", magic),
		"updates/loop-b.ko":                       kmodtest.Module("depends=loop_a", magic),
		"kernel/drivers/orphan.ko":                kmodtest.Module("depends=parent", magic),
		"kernel/drivers/no_elf.ko":                []byte("text"),
		"kernel/drivers/no_kernel.ko":             kmodtest.Module("depends="),
		"kernel/drivers/not-a-module.ko.txt":      nil,
		"build/drivers/source.c":                  nil,
		"kernel/drivers/broken_gz.ko.gz":          []byte("text"),
		"kernel/drivers/broken_xz.ko.xz":          []byte("text"),
		"kernel/drivers/no_kernel_module.ko.zstd": nil,
	})
	tr, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		names, want string
	}{
		{"ext4", "jbd2 mbcache ext4"},
		{"mbcache ext4 mbcache", "jbd2 mbcache ext4"},
		{"v_rng", "loop_b loop_a v_rng"},
		{"v-rng", "loop_b loop_a v_rng"},
		{"crc16 virtio_ring", ""},
	} {
		list, err := tr.Resolve(strings.Fields(test.names)...)
		if err != nil {
			t.Errorf("Resolve(%s): %v", test.names, err)
		}
		var got []string
		for _, m := range list {
			got = append(got, m.Name)
			if m.Release != "6.1.0-test" || !bytes.HasPrefix(m.Data, []byte(elf.ELFMAG)) {
				t.Errorf("module %s is for %q and begins with %q", m.Name, m.Release, m.Data[:4])
			}
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("Resolve(%s) gave %s, want %s", test.names, s, test.want)
		}
	}
	for name, want := range map[string]string{
		"missing":      "kernel module missing in",
		"orphan":       "orphan needs kernel module parent in",
		"no_elf":       "no_elf.ko: ",
		"no_kernel":    "no_kernel.ko does not tell",
		"broken_gz":    "broken_gz.ko.gz: ",
		"broken_xz":    "broken_xz.ko.xz: ",
		"not_a_module": "kernel module not_a_module in",
	} {
		if _, err := tr.Resolve("ext4", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%s) failed with %v, want %q", name, err, want)
		}
	}
	if _, err := tr.Resolve("orphan"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing dependency gave %v, want fs.ErrNotExist", err)
	}
	for name, want := range map[string]bool{"ext4": true, "crc16": true, "virtio-ring": true, "loop_a": true, "parent": false} {
		if tr.Has(name) != want {
			t.Errorf("Has(%s) is %t", name, !want)
		}
	}
}

func TestOpenAnotherDirectory(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want fs.ErrNotExist", err)
	}
}
