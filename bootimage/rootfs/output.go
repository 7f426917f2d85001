package rootfs

import (
	"fmt"
	"io"
	"io/fs"

	"govmm/bootimage/initramfs"
)

// A sink is where a root file system goes. Parents come before what is in them.
type sink interface {
	// file takes a regular file with one name or several.
	file(names []string, a attributes, size int64, r io.Reader) error

	// node takes what has no data: a directory, a symbolic link to target, or a pipe.
	node(name string, a attributes, target string) error
}

// output counts what goes into a sink, and has errors name the entry.
type output struct {
	sink   sink
	report Report
}

// attributes are what all kinds of entries have.
type attributes struct {
	mode     fs.FileMode // type and permissions
	uid, gid uint32
}

func (o *output) file(names []string, a attributes, size int64, r io.Reader) error {
	if err := o.sink.file(names, a, size, r); err != nil {
		return inEntry(names[0], err)
	}
	o.report.Entries += len(names)
	o.report.Bytes += size
	return nil
}

func (o *output) node(name string, a attributes, target string) error {
	if err := o.sink.node(name, a, target); err != nil {
		return inEntry(name, err)
	}
	o.report.Entries++
	return nil
}

// archive is the sink of Write.
type archive struct{ w *initramfs.Writer }

func (s archive) file(names []string, a attributes, size int64, r io.Reader) error {
	s.w.SetOwner(a.uid, a.gid)
	return s.w.WriteFileFrom(names[0], a.mode, size, r, names[1:]...)
}

func (s archive) node(name string, a attributes, target string) error {
	s.w.SetOwner(a.uid, a.gid)
	switch a.mode.Type() {
	case fs.ModeDir:
		return s.w.Mkdir(name, a.mode)
	case fs.ModeSymlink:
		return s.w.Symlink(name, target)
	}
	return s.w.Mknod(name, a.mode, 0, 0)
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
