package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/bootimage/initramfs"
)

// populate makes a directory of every kind of entry that needs no privileges.
func populate(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, err := range []error{
		os.Mkdir(at("etc"), 0o750),
		os.WriteFile(at("etc/b"), []byte("data"), 0o640),
		os.Link(at("etc/b"), at("a")),
		os.Mkdir(at("z"), 0o755),
		os.Link(at("etc/b"), at("z/c")),
		os.WriteFile(at("outside"), []byte("1"), 0o600),
		os.Link(at("outside"), filepath.Join(t.TempDir(), "other")),
		os.Symlink("/etc", at("link")),
		syscall.Mkfifo(at("pipe"), 0o600),
		os.Mkdir(at("tmp"), 0o755),
		os.Chmod(at("tmp"), 0o777|fs.ModeSticky),
		os.WriteFile(at("su"), nil, 0o600),
		os.Chmod(at("su"), 0o755|fs.ModeSetuid),
		os.Chmod(at("etc"), 0o750),
		os.Chmod(at("etc/b"), 0o640),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", at("z/socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return root
}

func TestDir(t *testing.T) {
	root := populate(t)
	archive, report, err := convert(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf(" %d:%d ", os.Getuid(), os.Getgid())
	want := []string{
		"-rw-r-----" + own + "a",
		"drwxr-xr-x 0:0 etc", // for the links
		"-rw-r-----" + own + "etc/b = a",
		"drwxr-xr-x 0:0 z",
		"-rw-r-----" + own + `z/c "data" = a`,
		"drwxr-x---" + own + "etc",
		"Lrwxrwxrwx" + own + "link -> /etc",
		"-rw-------" + own + `outside "1"`,
		"prw-------" + own + "pipe",
		"urwxr-xr-x" + own + "su",
		"dtrwxrwxrwx" + own + "tmp",
		"drwxr-xr-x" + own + "z",
	}
	compare(t, listing(t, archive), want)
	if w := report.Warning(); w != `left out: sockets ("z/socket")` || report.Bytes != 5 || report.Entries != len(want)-2 {
		t.Errorf("report is %+v, %q", report, w)
	}
	again, _, err := convert(root, Options{})
	if err != nil || !bytes.Equal(again, archive) {
		t.Errorf("a second archive differs, %v", err)
	}
}

// TestOwner has some entries belong to whom a user namespace does not show, and Options.Owner tell who that is.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away: sudo go test ./bootimage/rootfs")
	}
	root := populate(t)
	hidden := map[uint64]string{}
	for _, name := range []string{"etc", "a", "link", "pipe"} {
		path := filepath.Join(root, name)
		group := 65534
		if name == "pipe" {
			group = 1
		}
		var st unix.Stat_t
		if err := errors.Join(os.Lchown(path, 65534, group), unix.Lstat(path, &st)); err != nil {
			t.Fatal(err)
		}
		hidden[st.Ino] = name
	}
	owner := func(fd int) (uid, gid uint32, err error) {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || hidden[st.Ino] == "" {
			t.Errorf("asked for the owner of inode %d, %v", st.Ino, err)
		}
		return 7, uint32(len(hidden[st.Ino])), nil
	}
	archive, _, err := convert(root, Options{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"drwxr-x--- 7:3 etc", "-rw-r----- 7:1 a", "Lrwxrwxrwx 7:4 link -> /etc", "prw------- 7:4 pipe", "drwxr-xr-x 0:0 z"} {
		if got := listing(t, archive); !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	_, _, err = convert(root, Options{Owner: func(int) (uint32, uint32, error) { return 0, 0, io.ErrUnexpectedEOF }})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an owner that cannot be told: %v", err)
	}
}

func TestDirRefused(t *testing.T) {
	full := populate(t)
	trailer := t.TempDir()
	large := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(trailer, "TRAILER!!!"), nil, 0o600),
		os.WriteFile(filepath.Join(large, "new\nline"), nil, 0o600),
		os.Truncate(filepath.Join(large, "new\nline"), 4<<30),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	pipe := filepath.Join(full, "pipe")
	for _, test := range []struct {
		path string
		o    Options
		want string
	}{
		{filepath.Join(full, "none"), Options{}, "no such file or directory"},
		{pipe, Options{}, "neither a directory nor a file"},
		{trailer, Options{}, `"TRAILER!!!": invalid argument: name is that of the trailer`},
		{large, Options{}, `"new\nline": larger than 4 GiB - 1 byte`},
		{full, Options{MaxBytes: 4}, `"outside": its files have more than 4 bytes`},
		{full, Options{MaxEntries: 3}, "more than 3 entries"},
	} {
		_, _, err := convert(test.path, test.o)
		if err == nil || err.Error() != test.path+": "+test.want {
			t.Errorf("error is\n%v, want\n%v", err, test.path+": "+test.want)
		}
	}
	if _, _, err := convert(full, Options{MaxBytes: 5, MaxEntries: 11}); err != nil {
		t.Errorf("at the limits: %v", err)
	}
}

// TestUnreadable needs to be somebody whom permissions stop.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("root can read everything: TestDirChanges has errors of a file instead")
		return
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "shadow"), nil, 0); err != nil {
		t.Fatal(err)
	}
	_, _, err := convert(root, Options{})
	if !errors.Is(err, fs.ErrPermission) || err.Error() != root+`: "shadow": permission denied` {
		t.Errorf("error is %v", err)
	}
}

// TestDirChanges exchanges what was found before it is opened.
func TestDirChanges(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		replace func(path string) error
		want    string
	}{
		"by a link to a file":      {func(p string) error { return os.Symlink(secret, p) }, "changed while it was read"},
		"by a link to a directory": {func(p string) error { return os.Symlink(filepath.Dir(secret), p) }, "changed while it was read"},
		"by a pipe":                {func(p string) error { return syscall.Mkfifo(p, 0o600) }, "changed while it was read"},
		"by nothing":               {func(string) error { return nil }, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, "f")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := copyWith(t, root, func(f *found) {
				if err := errors.Join(os.Remove(path), test.replace(path)); err != nil {
					t.Fatal(err)
				}
			})
			if err == nil || err.Error() != `"f": `+test.want {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

// TestDirIsReplaced has a symbolic link in place of a directory that was found.
func TestDirIsReplaced(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	path := filepath.Join(root, "d")
	if err := errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	err := copyWith(t, root, func(f *found) {
		if f.name != "d" {
			t.Errorf("%q came in", f.name)
		}
		if err := errors.Join(os.Remove(path), os.Symlink(outside, path)); err != nil {
			t.Fatal(err)
		}
	})
	if err == nil || err.Error() != `"d": changed while it was read` {
		t.Errorf("error is %v", err)
	}
}

// copyWith copies a directory, and calls before whenever an entry was found.
func copyWith(t *testing.T, root string, before func(*found)) error {
	t.Helper()
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := copier{out: &output{sink: archive{initramfs.NewWriter(io.Discard)}}, left: newBudget(Options{}), done: map[string]bool{}}
	return walk(f, &interloper{c, before})
}

type interloper struct {
	copier
	before func(*found)
}

func (i *interloper) visit(f *found) error {
	i.before(f)
	return i.copier.visit(f)
}

// TestFileShrinks cuts a file short after its size is known.
func TestFileShrinks(t *testing.T) {
	out := &output{sink: archive{initramfs.NewWriter(io.Discard)}}
	err := out.file([]string{"f"}, attributes{}, 5, strings.NewReader("1234"))
	if !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != `"f": unexpected EOF` {
		t.Errorf("error is %v", err)
	}
}

// TestDirUnderChange reads a directory in which a name is a directory and a link out of it by turns.
func TestDirUnderChange(t *testing.T) {
	root, outside, spare := t.TempDir(), t.TempDir(), t.TempDir()
	d, inside, link := filepath.Join(root, "d"), filepath.Join(spare, "inside"), filepath.Join(spare, "link")
	err := errors.Join(os.Mkdir(d, 0o755), os.WriteFile(filepath.Join(d, "f"), []byte("inside"), 0o600),
		os.WriteFile(filepath.Join(outside, "f"), []byte("secret"), 0o600), os.Symlink(outside, link))
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			os.Rename(d, inside)
			os.Rename(link, d)
			os.Rename(d, link)
			os.Rename(inside, d)
		}
	}()
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		archive, _, err := convert(root, Options{})
		if err == nil && bytes.Contains(archive, []byte("secret")) {
			t.Error("a file from outside came in")
			break
		}
	}
	close(stop)
	<-stopped
}
