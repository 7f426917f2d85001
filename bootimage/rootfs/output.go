package rootfs

import (
	"fmt"
	"io"
	"io/fs"

	"govmm/bootimage/initramfs"
)

// output counts what goes into the archive, and has errors name the entry.
type output struct {
	w      *initramfs.Writer
	report Report
}

// attributes are what all kinds of entries have.
type attributes struct {
	mode     fs.FileMode // type and permissions
	uid, gid uint32
}

// file writes a regular file with one name or several.
func (o *output) file(names []string, a attributes, size int64, r io.Reader) error {
	o.w.SetOwner(a.uid, a.gid)
	if err := o.w.WriteFileFrom(names[0], a.mode, size, r, names[1:]...); err != nil {
		return inEntry(names[0], err)
	}
	o.report.Entries += len(names)
	o.report.Bytes += size
	return nil
}

// node writes what has no data: a directory, a symbolic link to target, or a pipe.
func (o *output) node(name string, a attributes, target string) error {
	o.w.SetOwner(a.uid, a.gid)
	var err error
	switch a.mode.Type() {
	case fs.ModeDir:
		err = o.w.Mkdir(name, a.mode)
	case fs.ModeSymlink:
		err = o.w.Symlink(name, target)
	default:
		err = o.w.Mknod(name, a.mode, 0, 0)
	}
	if err != nil {
		return inEntry(name, err)
	}
	o.report.Entries++
	return nil
}

// inEntry names the entry in an error.
func inEntry(name string, err error) error {
	return fmt.Errorf("%s: %w", quote(name), bare(err, name))
}

// permissions gives the bits of chmod(2) as package fs has them.
func permissions(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits) & fs.ModePerm
	for _, b := range []struct {
		bit  uint32
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if bits&b.bit != 0 {
			mode |= b.mode
		}
	}
	return mode
}
