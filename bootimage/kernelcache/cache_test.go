package kernelcache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// kernel is a packed kernel in a file, and what it unpacks to.
type kernel struct {
	file             *os.File
	packed, unpacked []byte
	unpackings       int
}

func newKernel(t *testing.T, name string, size int) *kernel {
	t.Helper()
	k := &kernel{packed: []byte("packed " + name), unpacked: bytes.Repeat([]byte(name), size/len(name))}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, k.packed, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	k.file = f
	time.Sleep(2 * tick) // until its identity can be told from that of a change
	return k
}

const tick = 10 * time.Millisecond

func newDir(t *testing.T) *Dir {
	return &Dir{Path: filepath.Join(t.TempDir(), "cache"), tick: tick}
}

// open gives the kernel, which must be right, and says whether it had to be unpacked.
func (k *kernel) open(t *testing.T, d *Dir) (unpacked bool, e *Entry) {
	t.Helper()
	before := k.unpackings
	e, err := d.Open(k.file, k.packed, func([]byte) ([]byte, error) {
		k.unpackings++
		return bytes.Clone(k.unpacked), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Data, k.unpacked) {
		t.Fatal("another kernel")
	}
	if e.Hit != (k.unpackings == before) {
		t.Errorf("hit: %v", e.Hit)
	}
	e.later.Wait()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return !e.Hit, e
}

func (k *kernel) expect(t *testing.T, d *Dir, unpacked bool) *Entry {
	t.Helper()
	got, e := k.open(t, d)
	if got != unpacked {
		t.Errorf("unpacked: %v, want %v", got, unpacked)
	}
	return e
}

func TestHits(t *testing.T) {
	d, a, b := newDir(t), newKernel(t, "a", 100_000), newKernel(t, "b", 50_000)
	if e := a.expect(t, d, true); e.File == nil || e.Err != nil {
		t.Fatal("not kept:", e.Err)
	}
	b.expect(t, d, true)
	e := a.expect(t, d, false)
	b.expect(t, d, false)
	if content, err := os.ReadFile(e.File.Name()); err != nil || !bytes.HasPrefix(content, a.unpacked) {
		t.Error("the entry's file does not begin with the kernel", err)
	}

	a.file = nil // by its content
	a.expect(t, d, false)
}

// TestNoted holds that a kernel whose file was seen before is not read, and one that has changed is.
func TestNoted(t *testing.T) {
	d, k := newDir(t), newKernel(t, "a", 100_000)
	k.expect(t, d, true)
	right := k.packed
	k.packed = []byte("not looked at")
	k.expect(t, d, false)

	// Another file of the same name, size and mtime.
	info, _ := k.file.Stat()
	path := k.file.Name()
	os.Remove(path)
	os.WriteFile(path, right, 0o644)
	os.Chtimes(path, time.Time{}, info.ModTime())
	k.file, _ = os.Open(path)
	k.packed = []byte("something else")
	k.expect(t, d, true)
}

// TestUnsettled holds that nothing is noted of a file that may change under the same identity.
func TestUnsettled(t *testing.T) {
	d, k := newDir(t), newKernel(t, "a", 100_000)
	d.tick = time.Hour
	k.expect(t, d, true)
	k.packed = []byte("changed at once")
	k.expect(t, d, true)
}

// TestBadEntries damages an entry in many ways: each time the kernel is unpacked anew, and then kept.
func TestBadEntries(t *testing.T) {
	other := newKernel(t, "b", 100_000)
	for name, damage := range map[string]func(t *testing.T, path, otherPath string) error{
		"first byte": func(_ *testing.T, path, _ string) error { return flip(path, 0) },
		"last byte":  func(_ *testing.T, path, _ string) error { return flip(path, 99_999) },
		"magic":      func(_ *testing.T, path, _ string) error { return flip(path, 100_000) },
		"length":     func(_ *testing.T, path, _ string) error { return flip(path, 100_000+offLength+7) },
		"sum":        func(_ *testing.T, path, _ string) error { return flip(path, 100_000+offCRC) },
		"key":        func(_ *testing.T, path, _ string) error { return flip(path, 100_000+offKey) },
		"shortened":  func(_ *testing.T, path, _ string) error { return os.Truncate(path, 50_000) },
		"empty":      func(_ *testing.T, path, _ string) error { return os.Truncate(path, 0) },
		"another's":  func(_ *testing.T, path, from string) error { return copyFile(path, from) },
		"unreadable": func(_ *testing.T, path, from string) error {
			return replace(path, func() error { return os.Symlink(from, path) })
		},
		"gone": func(_ *testing.T, path, _ string) error { return os.Remove(path) },
	} {
		for _, noted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/noted=%v", name, noted), func(t *testing.T) {
				d, k := newDir(t), newKernel(t, "a", 100_000)
				from := other.expect(t, d, true).File.Name()
				path := k.expect(t, d, true).File.Name()
				if !noted {
					os.RemoveAll(d.notesPath())
				}
				time.Sleep(2 * tick)
				if err := damage(t, path, from); err != nil {
					t.Fatal(err)
				}
				k.expect(t, d, true)
				k.expect(t, d, false)
			})
		}
	}
}

func flip(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at] ^= 0x10
	return os.WriteFile(path, b, 0o600) // in place
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func replace(path string, by func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return by()
}

// TestUnusable holds that a directory that cannot be used costs only time.
func TestUnusable(t *testing.T) {
	for name, spoil := range map[string]func(d *Dir) error{
		"not a directory": func(d *Dir) error { return os.WriteFile(d.Path, nil, 0o600) },
		"others' too": func(d *Dir) error {
			if err := os.Mkdir(d.Path, 0o700); err != nil {
				return err
			}
			return os.Chmod(d.Path, 0o777)
		},
		"too small": func(d *Dir) error { d.Limit = 1000; return nil },
		"cannot be made": func(d *Dir) error {
			d.Path = "/proc/govmm/cache"
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, k := newDir(t), newKernel(t, "a", 100_000)
			if err := spoil(d); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if e := k.expect(t, d, true); e.File != nil || e.Err == nil {
					t.Error("no word of it")
				}
			}
		})
	}
}

// TestImageChanges has the image, which is a mapping of somebody's file, change while it is unpacked: what is kept under the sum of the first content is
// what that unpacks to.
func TestImageChanges(t *testing.T) {
	d := newDir(t)
	image := []byte("the genuine kernel, packed")
	genuine := bytes.Clone(image)
	unpack := func(image []byte) ([]byte, error) { return append([]byte("unpacked: "), image...), nil }
	e, err := d.Open(nil, image, func(copied []byte) ([]byte, error) {
		copy(image, "another kernel")
		return unpack(copied)
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	e, err = d.Open(nil, genuine, unpack)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if want, _ := unpack(genuine); !e.Hit || !bytes.Equal(e.Data, want) {
		t.Errorf("hit %v, %q", e.Hit, e.Data)
	}
}

// TestEntryOfOthers has an entry that others may write, or whose owner they are: it is not used.
func TestEntryOfOthers(t *testing.T) {
	for name, give := range map[string]func(path string) error{
		"writable": func(path string) error { return os.Chmod(path, 0o666) },
		"owned":    func(path string) error { return os.Chown(path, 12345, -1) },
	} {
		if name == "owned" && os.Geteuid() != 0 {
			continue // nobody else can give files away
		}
		d, k := newDir(t), newKernel(t, "a", 100_000)
		k.expect(t, d, true)
		for _, i := range must(d.List()) {
			if err := give(i.Path); err != nil {
				t.Fatal(err)
			}
		}
		k.expect(t, d, true)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestUnpackFails(t *testing.T) {
	d, k := newDir(t), newKernel(t, "a", 10)
	bad := errors.New("bad kernel")
	if _, err := d.Open(k.file, k.packed, func([]byte) ([]byte, error) { return nil, bad }); err != bad {
		t.Errorf("error %v", err)
	}
	if list, err := d.List(); err != nil || len(list) > 0 {
		t.Errorf("kept: %v, %v", list, err)
	}
}

// TestManyAtOnce opens and prunes from many goroutines, each of which must get its kernel.
func TestManyAtOnce(t *testing.T) {
	d := newDir(t)
	kernels := []*kernel{newKernel(t, "a", 300_000), newKernel(t, "b", 200_000), newKernel(t, "c", 100_000)}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for j := range 20 {
				k := kernels[(i+j)%len(kernels)]
				e, err := d.Open(k.file, k.packed, func([]byte) ([]byte, error) { return bytes.Clone(k.unpacked), nil })
				if err != nil || !bytes.Equal(e.Data, k.unpacked) {
					t.Error("wrong kernel", err)
					return
				}
				if j%7 == 0 {
					if _, err := d.Prune(int64(i) * 50_000); err != nil {
						t.Error(err)
					}
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left, _ := filepath.Glob(filepath.Join(d.Path, tempPattern)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
