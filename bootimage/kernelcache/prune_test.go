package kernelcache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// names are the kernels that the directory has, the last used first.
func names(t *testing.T, d *Dir) string {
	t.Helper()
	list, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	for _, i := range list {
		b, err := os.ReadFile(i.Path)
		if err != nil || int64(len(b)) != i.Size {
			t.Fatal(err, len(b), i.Size)
		}
		s.WriteByte(b[0])
	}
	return s.String()
}

// setUsed has the last use of k's entry be some hours ago.
func (k *kernel) setUsed(t *testing.T, d *Dir, e *Entry, hours int) {
	t.Helper()
	then := time.Now().Add(-time.Duration(hours) * time.Hour)
	id, err := identityOf(k.file)
	if err != nil {
		t.Fatal(err)
	}
	// The entry's own time counts only where there is no note.
	n, err := d.readNote(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(e.File.Name(), then, then); err != nil {
		t.Fatal(err)
	}
	if n.entry, err = identityOf(e.File); err != nil {
		t.Fatal(err)
	}
	if err := d.writeNote(id, n); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(d.notePath(id), then, then); err != nil {
		t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	d := newDir(t)
	if list, err := d.List(); err != nil || len(list) != 0 {
		t.Fatalf("a directory that is not there has %v, %v", list, err)
	}
	a, b, c := newKernel(t, "a", 100_000), newKernel(t, "b", 100_000), newKernel(t, "c", 100_000)
	for i, k := range []*kernel{a, b, c} {
		k.setUsed(t, d, k.expect(t, d, true), 10+i)
	}
	if got := names(t, d); got != "abc" {
		t.Errorf("the last used are %s", got)
	}
	inUse := c.expect(t, d, false) // a use
	if got := names(t, d); got != "cab" {
		t.Errorf("the last used are %s", got)
	}
	const two = 2 * (100_000 + trailerSize)
	removed, err := d.Prune(two)
	if err != nil || len(removed) != 1 || names(t, d) != "ca" {
		t.Errorf("%v, %v removed, %s left", removed, err, names(t, d))
	}
	b.expect(t, d, true)

	if removed, err := d.Prune(0); err != nil || len(removed) != 3 || names(t, d) != "" {
		t.Errorf("%v, %v removed", removed, err)
	}
	if inUse.Data[0] != 'c' {
		t.Error("a kernel in use is gone")
	}
	if notes, _ := os.ReadDir(d.notesPath()); len(notes) > 0 {
		t.Errorf("%d notes of entries that are gone", len(notes))
	}
}

// TestBounded holds that new entries push the oldest out.
func TestBounded(t *testing.T) {
	d := newDir(t)
	d.Limit = 2 * (100_000 + trailerSize)
	for i, name := range []string{"a", "b", "c", "d"} {
		k := newKernel(t, name, 100_000)
		k.setUsed(t, d, k.expect(t, d, true), 10-i)
	}
	if got := names(t, d); got != "dc" {
		t.Errorf("%s are left", got)
	}
}

func TestLeftovers(t *testing.T) {
	d := newDir(t)
	newKernel(t, "a", 1000).expect(t, d, true)
	old, young := filepath.Join(d.Path, "1.tmp"), filepath.Join(d.Path, "2.tmp")
	for _, path := range []string{old, young, filepath.Join(d.notesPath(), "garbage")} {
		if err := os.WriteFile(path, []byte("cut off"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-2 * leftover)
	os.Chtimes(old, then, then)
	if _, err := d.Prune(DefaultLimit); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("an old temporary file stays")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("a temporary file that may be in use is gone")
	}
	if notes, _ := os.ReadDir(d.notesPath()); len(notes) != 1 {
		t.Errorf("%d notes", len(notes))
	}
}

func FuzzNote(f *testing.F) {
	f.Add(note{entry: identity{1, 2, 3, 4, 5}}.String())
	f.Add("govmm-note-1 00 1 2 3 4 5\n")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseNote(text)
		if err != nil {
			return
		}
		if again, err := parseNote(n.String()); err != nil || again != n {
			t.Errorf("%+v became %+v, %v", n, again, err)
		}
	})
}
