package rootfs

import (
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// found is an entry of a directory that is walked.
type found struct {
	dir  int    // descriptor of the directory it is in
	base string // its name there
	name string // relative to the root
	stat unix.Stat_t
}

// walk visits all that is below root, by name, each directory before what it holds. A descriptor is open
// for each directory on the way down; no name with more than one part is ever resolved, and no symbolic link.
func walk(root *os.File, v visitor) error {
	if _, err := root.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return walkDir(root, "", v)
}

// A visitor is called for each entry.
type visitor interface {
	visit(*found) error

	// most is how many more entries it will take without an error. That many names of a directory are in memory.
	most() int
}

func walkDir(dir *os.File, prefix string, v visitor) error {
	names, err := dir.Readdirnames(v.most() + 1)
	if err != nil && err != io.EOF {
		return inEntry(dirName(prefix), cause(err))
	}
	slices.Sort(names)
	for _, base := range names {
		f := &found{dir: int(dir.Fd()), base: base, name: prefix + base}
		if err := f.step(v); err != nil {
			return err
		}
	}
	return nil
}

// step visits f, and what is below it.
func (f *found) step(v visitor) error {
	if len(f.name) > maxName {
		return inEntry(f.name, errLongName)
	}
	err := retry(func() error { return unix.Fstatat(f.dir, f.base, &f.stat, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return inEntry(f.name, err)
	}
	isDir := f.stat.Mode&unix.S_IFMT == unix.S_IFDIR
	if err := v.visit(f); err != nil || !isDir {
		return err
	}
	sub, err := f.openat(unix.O_DIRECTORY)
	if err != nil {
		return inEntry(f.name, err)
	}
	defer sub.Close()
	return walkDir(sub, f.name+"/", v)
}

// open opens a regular file and sets stat to what was opened, which need not be what was found.
func (f *found) open() (*os.File, error) {
	data, err := f.openat(unix.O_NONBLOCK) // not to wait at a pipe that took its place
	if err != nil {
		return nil, err
	}
	err = retry(func() error { return unix.Fstat(int(data.Fd()), &f.stat) })
	if err == nil && f.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errChanged
	}
	if err != nil {
		data.Close()
		return nil, err
	}
	return data, nil
}

func (f *found) openat(flags int) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(f.dir, f.base, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = errChanged // it was neither a symbolic link nor, where a directory is wanted, anything else before
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.name), nil
}

func (f *found) readlink() (string, error) {
	buf := make([]byte, maxName+1)
	var n int
	err := retry(func() (err error) {
		n, err = unix.Readlinkat(f.dir, f.base, buf)
		return err
	})
	return string(buf[:max(n, 0)]), err
}

func (f *found) inode() inode { return inode{uint64(f.stat.Dev), f.stat.Ino} }

// retry calls again what a signal interrupted, as some file systems let it.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// dirName is how errors call the directory whose entries have the prefix.
func dirName(prefix string) string {
	if prefix == "" {
		return "."
	}
	return prefix[:len(prefix)-1]
}

// cause takes the call and the name out of an error of package os.
func cause(err error) error {
	if p, ok := errors.AsType[*os.SyscallError](err); ok {
		return p.Err
	}
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}
