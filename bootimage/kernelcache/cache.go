package kernelcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultLimit is what a Dir with a zero Limit may take on disk, in bytes: some fifteen
// distribution kernels.
const DefaultLimit = 1 << 30

// DefaultPath is the directory for the current user: govmm/unpacked in the user's cache directory.
func DefaultPath() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "govmm", "unpacked"), nil
}

// Dir is a cache directory. Its fields are not to be changed after the first call of a
// method; methods may be called from any goroutine and at the same time by any number of processes.
type Dir struct {
	Path  string // need not exist
	Limit int64  // most bytes to take on disk; 0 means DefaultLimit

	tick time.Duration // for tests: granularity
}

// An Entry is an unpacked kernel.
type Entry struct {
	// Data is the kernel, not to be written to. It is valid until Close.
	Data []byte

	// File is the file whose first len(Data) bytes Data is a mapping of, open for reading; nil if
	// there is none because the directory could not be used.
	File *os.File

	// Hit says that the kernel did not have to be unpacked.
	Hit bool

	// Err is why the kernel could not be kept, if it could not: the next boot will
	// have to unpack it again, no more. Nil otherwise.
	Err error

	mapping []byte
	later   sync.WaitGroup // what Open left to do
}

// Release gives back Data, which must not be used any more. File stays.
func (e *Entry) Release() error {
	var err error
	if e.mapping != nil {
		err = os.NewSyscallError("munmap", unix.Munmap(e.mapping))
	}
	e.mapping, e.Data = nil, nil
	return err
}

// Wait returns when nothing that Open left to do in the background is under way any more: a new entry is written to disk.
// After it no file is opened.
func (e *Entry) Wait() { e.later.Wait() }

// Close releases the entry, not what others have mapped of its File. It waits for the disk if
// the entry is new.
func (e *Entry) Close() error {
	e.later.Wait()
	err := e.Release()
	if e.File != nil {
		err = errors.Join(err, e.File.Close())
	}
	return err
}

// key is the sum of a packed kernel, by which its entry is named.
type key [sha256.Size]byte

func (k key) String() string { return hex.EncodeToString(k[:]) }

// Open gives the unpacked kernel of image, from the directory or else by unpack, whose
// result is then kept. file, if not nil, is the file that image is the content of. image may change at any time, as a mapping of somebody's file does: unpack is given a
// copy, by whose sum its result is kept.
//
// What is wrong with the directory is no error, and costs time only. The error is unpack's.
func (d *Dir) Open(file *os.File, image []byte, unpack func(image []byte) ([]byte, error)) (*Entry, error) {
	usable := d.prepare()
	id, idErr := identityOf(file)
	if usable == nil && idErr == nil {
		if e, ok := d.openNoted(id); ok {
			return e, nil
		}
	}
	if len(image) > maxEntry {
		usable = fmt.Errorf("a packed kernel of %d bytes", len(image))
	} else {
		image = bytes.Clone(image)
	}
	var k key
	if usable == nil {
		k = sha256.Sum256(image)
		if e, err := d.openChecked(k); err == nil {
			e.Hit = true
			d.noteLater(e, id, k)
			return e, nil
		}
	}
	data, err := unpack(image)
	if err != nil {
		return nil, err
	}
	if usable == nil {
		var e *Entry
		if e, usable = d.store(k, data); usable == nil {
			d.noteLater(e, id, k)
			return e, nil
		}
	}
	return &Entry{Data: data, Err: fmt.Errorf("unpacked kernels cannot be kept: %w", usable)}, nil
}

// openNoted opens the entry that is noted for a file, unless either has changed since.
func (d *Dir) openNoted(id identity) (*Entry, bool) {
	n, err := d.readNote(id)
	if err != nil {
		return nil, false
	}
	e, have, err := d.openEntry(n.key)
	if err != nil {
		return nil, false
	}
	if have != n.entry || e.readTrailer(n.key) != nil {
		e.Close()
		return nil, false
	}
	e.Hit = true
	d.touch(id)
	return e, true
}

// openChecked opens an entry and checks all of it. A bad one is removed.
func (d *Dir) openChecked(k key) (*Entry, error) {
	e, _, err := d.openEntry(k)
	if err != nil {
		return nil, err
	}
	err = e.readTrailer(k)
	if err == nil {
		err = e.checkSum()
	}
	if err != nil {
		e.Close()
		os.Remove(d.entryPath(k)) // it would be replaced anyway
		return nil, err
	}
	return e, nil
}

func (d *Dir) entryPath(k key) string { return filepath.Join(d.Path, k.String()) }

// openEntry maps an entry's file, whatever is in it.
func (d *Dir) openEntry(k key) (*Entry, identity, error) {
	// O_NOFOLLOW: entries are files. O_NONBLOCK: and what is not does not hold us up.
	f, err := os.OpenFile(d.entryPath(k), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, identity{}, err
	}
	e := &Entry{File: f}
	id, owner, err := statFile(f)
	if err == nil && owner.others() {
		err = errOthers
	}
	if err == nil {
		err = e.mapFile(id.size)
	}
	if err != nil {
		e.Close()
		return nil, identity{}, err
	}
	return e, id, nil
}

func (e *Entry) mapFile(size int64) error {
	if size < trailerSize || size > maxEntry {
		return fmt.Errorf("an entry of %d bytes", size)
	}
	b, err := unix.Mmap(int(e.File.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	e.mapping = b
	return nil
}

// noteLater writes the note for file id, in the background, when the entry is safe on disk.
func (d *Dir) noteLater(e *Entry, id identity, k key) {
	if !id.settled(d.granularity()) {
		return
	}
	e.later.Go(func() {
		if e.File.Sync() != nil {
			return
		}
		if entry, err := identityOf(e.File); err == nil {
			_ = d.writeNote(id, note{k, entry}) // without it the next boot takes longer
		}
	})
}
