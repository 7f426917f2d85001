package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"govmm/bootimage/initramfs"
)

// The limits that Options have when they are zero.
const (
	DefaultMaxBytes   = 2 << 30
	DefaultMaxEntries = 1_000_000
)

// Options bound what a root file system may be. The zero value has the default limits.
type Options struct {
	// MaxBytes is how much data all files may have, in bytes; 0 or less stands for DefaultMaxBytes. Holes count as data, a
	// file with several names counts once, and one that a later entry of a tar replaces counts too.
	MaxBytes int64

	// MaxEntries is how many files, directories and all else there may be, of a tar also how many headers; 0 or less
	// stands for DefaultMaxEntries, and more than 2^31 - 1 for that. Memory is in proportion: for a tar's entry some 300
	// bytes and its names, which may have 256 bytes on the average.
	MaxEntries int

	// Owner, if it is not nil, tells whose an open file of a directory is, which may be one that was opened with O_PATH. It is asked for files that are not this process's user's
	// and group's: in a user namespace stat does not show whose those are (user_namespaces(7)).
	Owner func(fd int) (uid, gid uint32, err error)
}

// Write adds the root file system at path, which is a directory or a tar archive, to w, and tells what it added and
// what it left out. It does not close w; the owner that w has set is 0, 0 afterwards. What w has already cannot
// be in the root file system, except directories.
//
// An error is one line that begins with path and names the entry at fault. After an error what w wrote is to be thrown
// away. Errors of w's writer, and of the file system like fs.ErrPermission, are in the error.
//
// Calls may run at the same time, each with a Writer of its own.
func Write(w *initramfs.Writer, path string, o Options) (Report, error) {
	defer w.SetOwner(0, 0)
	return readNamed(archive{w}, path, o)
}

// readNamed has errors begin with the path.
func readNamed(to sink, path string, o Options) (Report, error) {
	r, err := read(to, path, o)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, bare(err, path))
	}
	return r, nil
}

// read gives a sink the root file system at path.
func read(to sink, path string, o Options) (Report, error) {
	// Without O_NONBLOCK, opening a pipe would wait for somebody to write.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Report{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Report{}, err
	}
	out := &output{sink: to}
	switch {
	case info.IsDir():
		err = writeDir(out, f, o)
	case info.Mode().IsRegular():
		err = writeTar(out, f, o)
	default:
		err = errors.New("neither a directory nor a file")
	}
	return out.report, err
}

// bare takes the name out of an error that is to be told behind that name.
func bare(err error, name string) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok && error(p) == err && p.Path == name {
		return p.Err
	}
	return err
}
