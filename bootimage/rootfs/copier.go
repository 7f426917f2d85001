package rootfs

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A copier writes a directory that a survey went through before.
type copier struct {
	out   *output
	left  *budget
	owner func(fd int) (uid, gid uint32, err error) // Options.Owner
	links map[inode][]string                        // the survey's
	done  map[string]bool                           // names that were written with another name of the same file
}

func (c *copier) most() int { return c.left.entries }

func (c *copier) visit(f *found) error {
	if err := c.left.entry(len(f.name)); err != nil {
		return err
	}
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.file(f)
	case unix.S_IFDIR, unix.S_IFIFO, unix.S_IFLNK:
		return c.node(f)
	case unix.S_IFSOCK:
		c.out.report.skip(sockets, f.name)
	default:
		c.out.report.skip(devices, f.name)
	}
	return nil
}

// node writes what has no data but a link's.
func (c *copier) node(f *found) error {
	a, err := c.attributes(f)
	if err != nil {
		return inEntry(f.name, err)
	}
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		a.mode |= fs.ModeDir
	case unix.S_IFIFO:
		a.mode |= fs.ModeNamedPipe
	case unix.S_IFLNK:
		target, err := f.readlink()
		if err != nil {
			return inEntry(f.name, err)
		}
		a.mode |= fs.ModeSymlink
		return c.out.node(f.name, a, target)
	}
	return c.out.node(f.name, a, "")
}

// attributes gives those of what was found, without its type.
func (c *copier) attributes(f *found) (attributes, error) {
	if !c.mustAsk(f) {
		return c.attributesOf(f, -1)
	}
	file, err := f.openat(unix.O_PATH)
	if err != nil {
		return attributes{}, err
	}
	defer file.Close()
	return c.attributesOf(f, int(file.Fd()))
}

// mustAsk tells whether stat may not have the owner.
func (c *copier) mustAsk(f *found) bool {
	return c.owner != nil && (f.stat.Uid != uint32(os.Geteuid()) || f.stat.Gid != uint32(os.Getegid()))
}

// attributesOf gives them, of what fd is.
func (c *copier) attributesOf(f *found, fd int) (a attributes, err error) {
	a = attributes{mode: permissions(f.stat.Mode), uid: f.stat.Uid, gid: f.stat.Gid}
	if c.mustAsk(f) {
		a.uid, a.gid, err = c.owner(fd)
	}
	return a, err
}

func (c *copier) file(f *found) error {
	if c.done[f.name] {
		return nil
	}
	data, err := f.open()
	if err != nil {
		return inEntry(f.name, err)
	}
	defer data.Close()
	// From here on the stat is that of the open file.
	if err := c.left.file(f.stat.Size); err != nil {
		return inEntry(f.name, err)
	}
	a, err := c.attributesOf(f, int(data.Fd()))
	if err != nil {
		return inEntry(f.name, err)
	}
	return c.out.file(c.names(f), a, f.stat.Size, data)
}

// names gives all names of a file, if f is the one that the survey met first. Otherwise links have changed since
// then, and the file is written under this name alone.
func (c *copier) names(f *found) []string {
	names := c.links[f.inode()]
	if len(names) == 0 || names[0] != f.name {
		return []string{f.name}
	}
	for _, n := range names[1:] {
		c.done[n] = true
	}
	return names
}
