package kernelcache

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Info describes an entry.
type Info struct {
	Sum  string    // SHA-256 of the packed kernel, in hexadecimal
	Path string    // the unpacked kernel's file
	Size int64     // of the file, in bytes
	Used time.Time // last use, to about an hour
}

// List gives the entries, the last used first. A directory that does not exist has none.
func (d *Dir) List() ([]Info, error) {
	files, err := os.ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	used := d.lastUses()
	var list []Info
	for _, f := range files {
		sum, err := hex.DecodeString(f.Name())
		if err != nil || len(sum) != len(key{}) {
			continue
		}
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile, or not ours
		}
		i := Info{Sum: f.Name(), Path: filepath.Join(d.Path, f.Name()), Size: info.Size(), Used: info.ModTime()}
		if t := used[key(sum)]; t.After(i.Used) {
			i.Used = t
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b Info) int {
		if c := b.Used.Compare(a.Used); c != 0 {
			return c
		}
		return strings.Compare(a.Sum, b.Sum)
	})
	return list, nil
}

// eachNote visits the notes. What cannot be read is nil and no entry's.
func (d *Dir) eachNote(visit func(path string, n *note, changed time.Time)) {
	files, err := os.ReadDir(d.notesPath())
	if err != nil {
		return
	}
	for _, f := range files {
		path := filepath.Join(d.notesPath(), f.Name())
		info, err := f.Info()
		if err != nil {
			continue
		}
		n, err := readNoteFile(path)
		if err != nil {
			visit(path, nil, info.ModTime())
			continue
		}
		visit(path, &n, info.ModTime())
	}
}

func (d *Dir) lastUses() map[key]time.Time {
	used := make(map[key]time.Time)
	d.eachNote(func(_ string, n *note, changed time.Time) {
		if n != nil && changed.After(used[n.key]) {
			used[n.key] = changed
		}
	})
	return used
}

// Prune removes the entries that were not used for the longest time until those that stay take at
// most limit bytes, and what is left of unfinished work. Guests that use an entry keep it. It
// returns what was removed.
func (d *Dir) Prune(limit int64) ([]Info, error) { return d.prune(limit, key{}) }

// makeRoom prunes for a new entry of size bytes, which may replace one.
func (d *Dir) makeRoom(size int64, k key) error {
	_, err := d.prune(d.limit()-size, k)
	return err
}

func (d *Dir) prune(limit int64, replaced key) (removed []Info, err error) {
	list, err := d.List()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(i Info) bool { return i.Sum == replaced.String() })
	var total int64
	for _, i := range list {
		total += i.Size
	}
	var errs []error
	gone := make(map[string]bool)
	for _, i := range slices.Backward(list) {
		if total <= limit {
			break
		}
		if err := remove(i.Path); err != nil {
			errs = append(errs, err)
			continue
		}
		total -= i.Size
		gone[i.Sum] = true
		removed = append(removed, i)
	}
	errs = append(errs, d.removeNotes(gone), d.removeLeftovers())
	return removed, errors.Join(errs...)
}

// remove is os.Remove for what another process may have removed already.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeNotes removes the notes of entries that are gone, and those that are none. A note
// whose entry went another way does no harm: they are small, and found here.
func (d *Dir) removeNotes(gone map[string]bool) error {
	var errs []error
	d.eachNote(func(path string, n *note, _ time.Time) {
		if n == nil || gone[n.key.String()] {
			errs = append(errs, remove(path))
		}
	})
	return errors.Join(errs...)
}

// leftover is the age at which nobody can still be writing a temporary file.
const leftover = time.Hour

// removeLeftovers removes the files of processes that ended while they wrote them.
func (d *Dir) removeLeftovers() error {
	files, err := filepath.Glob(filepath.Join(d.Path, tempPattern))
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if info, err := os.Lstat(f); err == nil && time.Since(info.ModTime()) > leftover {
			errs = append(errs, remove(f))
		}
	}
	return errors.Join(errs...)
}
