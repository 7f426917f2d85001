package rootfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// extract unpacks an archive into a new directory, beside which there is a file that nobody is to change.
func extract(t testing.TB, data []byte) (dir string, err error) {
	t.Helper()
	outer := t.TempDir()
	dir = filepath.Join(outer, "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outer, "secret"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Extract(dir, store(t, data), Options{})
	checkOutside(t, outer)
	return dir, err
}

// checkOutside holds that there is nothing new beside the directory.
func checkOutside(t testing.TB, outer string) {
	t.Helper()
	entries, err := os.ReadDir(outer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(outer, "secret"))
	if err != nil || string(got) != "kept" || len(entries) != 2 {
		t.Errorf("outside of the directory: %v, %q, %v", entries, got, err)
	}
}

func TestExtract(t *testing.T) {
	dir, err := extract(t, makeTar(t, dir("etc", 0o555), file("etc/passwd", "root"), symlink("out", "../../secret"), symlink("abs", "/etc/passwd"),
		hardLink("again", "etc/passwd"), node("pipe", '6'), dir("tmp", 0o1777)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"etc": fs.ModeDir | 0o555, "etc/passwd": 0o644, "again": 0o644, "pipe": fs.ModeNamedPipe | 0o600, "tmp": fs.ModeDir | fs.ModeSticky | 0o777} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
	one, err := os.Stat(filepath.Join(dir, "again"))
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.Stat(filepath.Join(dir, "etc/passwd")); err != nil || !os.SameFile(one, two) {
		t.Error("a hard link became a file of its own")
	}
	if target, err := os.Readlink(filepath.Join(dir, "out")); err != nil || target != "../../secret" {
		t.Errorf("symbolic link to %q: %v", target, err)
	}
}

func TestExtractRefused(t *testing.T) {
	for name, archive := range map[string][]byte{
		"absolute":            makeTar(t, file("/secret", "x")),
		"above":               makeTar(t, file("../secret", "x")),
		"through a link":      makeTar(t, symlink("out", ".."), file("out/secret", "x")),
		"hard link above":     makeTar(t, hardLink("x", "../secret")),
		"hard link to a link": makeTar(t, symlink("out", "../secret"), hardLink("again", "out"), file("again/x", "x")),
	} {
		if _, err := extract(t, archive); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q has more than a line", name, err)
		}
	}
}

func TestExtractSetuid(t *testing.T) {
	su := file("su", "x")
	su.Mode = 0o6755
	dir, err := extract(t, makeTar(t, su, hardLink("sudo", "su")))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "sudo")); err != nil || info.Mode() != fs.ModeSetuid|fs.ModeSetgid|0o755 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestExtractNotEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(dir, t.TempDir(), Options{}); err == nil || !strings.HasSuffix(err.Error(), "not empty") {
		t.Errorf("%v", err)
	}
}

func TestExtractDirectory(t *testing.T) {
	source, to := populate(t), t.TempDir()
	if _, err := Extract(to, source, Options{}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(source, path)
		if err != nil || d.Type() == fs.ModeSocket {
			return err
		}
		want, err := os.Lstat(path)
		if err != nil {
			return err
		}
		got, err := os.Lstat(filepath.Join(to, name))
		if err != nil || name != "." && got.Mode() != want.Mode() {
			t.Errorf("%s: %v, want %v (%v)", name, got, want.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
