package rootfs

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// A copier writes a directory that a survey went through before.
type copier struct {
	out   *output
	left  *budget
	links map[inode][]string // the survey's
	done  map[string]bool    // names that were written with another name of the same file
}

func (c *copier) most() int { return c.left.entries }

func (c *copier) visit(f *found) error {
	if err := c.left.entry(len(f.name)); err != nil {
		return err
	}
	a := attributes{mode: permissions(f.stat.Mode), uid: f.stat.Uid, gid: f.stat.Gid}
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.file(f)
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
	case unix.S_IFSOCK:
		c.out.report.skip(sockets, f.name)
		return nil
	default:
		c.out.report.skip(devices, f.name)
		return nil
	}
	return c.out.node(f.name, a, "")
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
	a := attributes{mode: permissions(f.stat.Mode), uid: f.stat.Uid, gid: f.stat.Gid}
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
