package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"govmm/bootimage/initramfs"
	"govmm/bootimage/initramfs/kmod/kmodtest"
)

// userland is what u-root leaves, in small.
func userland(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := initramfs.NewWriter(&b)
	err := errors.Join(w.WriteFile("bbin/bb", 0o755, []byte("program")), w.Symlink("bbin/ls", "bb"), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack gives one line for each entry of an archive, and the data of its files.
func unpack(t *testing.T, archive []byte) (list []string, data map[string]string) {
	t.Helper()
	data = make(map[string]string)
	r := initramfs.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list, data
		}
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%v %s", h.Mode, h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		list = append(list, line)
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		data[h.Name] = string(content)
	}
}

func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func kernel(t *testing.T, release string) string {
	module := func(depends string) string {
		return string(kmodtest.Module("depends="+depends, "vermagic="+release+" SMP"))
	}
	return writeTree(t, map[string]string{
		"modules.builtin":       "kernel/fs/ext4/ext4.ko\n",
		"kernel/virtio.ko":      module(""),
		"kernel/virtio_blk.ko":  module("virtio"),
		"kernel/virtio-rng.ko":  module("virtio"),
		"kernel/not-usual.ko":   module("virtio"),
		"kernel/virtio_mmio.ko": module("virtio"),
	})
}

func TestCompose(t *testing.T) {
	extra := writeTree(t, map[string]string{"dir/a": "A", "dir/b/c": "C", "tool": "T"})
	if err := errors.Join(os.Chmod(filepath.Join(extra, "tool"), 0o700), os.Symlink("a", filepath.Join(extra, "dir/link"))); err != nil {
		t.Fatal(err)
	}
	cfg := config{
		kernels: []string{kernel(t, "6.1.0-test"), kernel(t, "6.12.0-test")},
		start:   "echo hello; poweroff",
		files: []hostFile{
			{filepath.Join(extra, "dir"), "/data/"},
			{filepath.Join(extra, "tool"), "bin/tool"},
		},
	}
	var b bytes.Buffer
	if err := compose(&b, bytes.NewReader(userland(t)), cfg); err != nil {
		t.Fatal(err)
	}
	list, data := unpack(t, b.Bytes())
	for _, want := range []string{
		"Dcrw------- dev/console",
		"Dcrw-rw-rw- dev/null",
		"Lrwxrwxrwx init -> bin/init",
		"-rwxr-xr-x bin/bb",
		"Lrwxrwxrwx bin/ls -> bb",
		"-rwxr-xr-x bin/demo",
		"-rwxr-xr-x etc/govmm/start",
		"drwxr-xr-x data",
		"-rw-r--r-- data/a",
		"-rw-r--r-- data/b/c",
		"Lrwxrwxrwx data/link -> a",
		"-rwxr-xr-x bin/tool",
		"-rw-r--r-- lib/modules/6.1.0-test/virtio_blk.ko",
		"-rw-r--r-- lib/modules/6.12.0-test/virtio_rng.ko",
	} {
		if !slices.Contains(list, want) {
			t.Errorf("no entry %q in\n%s", want, strings.Join(list, "\n"))
		}
	}
	for name, want := range map[string]string{
		"bin/bb":                              "program",
		"data/b/c":                            "C",
		"etc/govmm/start":                     "#!/bin/sh\necho hello; poweroff\n",
		"lib/modules/6.1.0-test/modules.load": "virtio.ko\nvirtio_mmio.ko\nvirtio_blk.ko\nvirtio_rng.ko\n",
	} {
		if data[name] != want {
			t.Errorf("%s is %q, want %q", name, data[name], want)
		}
	}
	if _, ok := data["lib/modules/6.1.0-test/not_usual.ko"]; ok {
		t.Error("a module that was not asked for is in the archive")
	}

	var again bytes.Buffer
	if err := compose(&again, bytes.NewReader(userland(t)), cfg); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("the same inputs gave two archives")
	}
}

func TestComposeNamedModules(t *testing.T) {
	cfg := config{kernels: []string{kernel(t, "6.1.0-test")}, modules: []string{"not-usual", "ext4"}}
	var b bytes.Buffer
	if err := compose(&b, bytes.NewReader(userland(t)), cfg); err != nil {
		t.Fatal(err)
	}
	_, data := unpack(t, b.Bytes())
	if got, want := data["lib/modules/6.1.0-test/modules.load"], "virtio.ko\nnot_usual.ko\n"; got != want {
		t.Errorf("modules to load are %q, want %q", got, want)
	}

	cfg.modules = []string{"virtio_blk", "no_such"}
	if err := compose(&b, bytes.NewReader(userland(t)), cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown module gave %v, want fs.ErrNotExist", err)
	}
}

func TestComposeErrors(t *testing.T) {
	pipe := writeTree(t, nil)
	var other bytes.Buffer
	w := initramfs.NewWriter(&other)
	if err := errors.Join(w.WriteFile("etc/elsewhere", 0o644, nil), w.Close()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		userland []byte
		cfg      config
		want     error
	}{
		{"files missing", userland(t), config{files: []hostFile{{filepath.Join(pipe, "x"), "x"}}}, fs.ErrNotExist},
		{"device", userland(t), config{files: []hostFile{{os.DevNull, "null"}}}, nil},
		{"file exists", userland(t), config{files: []hostFile{{writeTree(t, map[string]string{"passwd": ""}), "etc"}}}, fs.ErrExist},
		{"no modules", userland(t), config{kernels: []string{pipe}}, fs.ErrNotExist},
		{"broken userland", []byte(strings.Repeat("text", 100)), config{}, nil},
		{"cut userland", userland(t)[:150], config{}, io.ErrUnexpectedEOF},
		{"unexpected entry", other.Bytes(), config{}, nil},
	} {
		err := compose(io.Discard, bytes.NewReader(test.userland), test.cfg)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: error is %v, want %v", test.name, err, test.want)
		}
	}
}
