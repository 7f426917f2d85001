package rootfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeDir writes the directory root. It walks it twice: first for the limits, so that what is too large is known
// before anything is written, and for hard links, whose names must be known when the first of them is written.
func writeDir(out *output, root *os.File, o Options) error {
	s := &survey{left: newBudget(o), links: make(map[inode][]string)}
	if err := walk(root, s); err != nil {
		return err
	}
	// What the directory has become meanwhile must not exceed the limits either.
	c := &copier{out: out, left: newBudget(o), owner: o.Owner, links: s.links, done: make(map[string]bool)}
	return walk(root, c)
}

// An inode is a file, whatever its names.
type inode struct{ dev, ino uint64 }

// A survey measures a directory.
type survey struct {
	left  *budget
	links map[inode][]string // the names of files that have more than one somewhere
}

func (s *survey) most() int { return s.left.entries }

func (s *survey) visit(f *found) error {
	if err := s.left.entry(len(f.name)); err != nil || f.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return err
	}
	if f.stat.Nlink > 1 {
		key := f.inode()
		s.links[key] = append(s.links[key], f.name)
		if len(s.links[key]) > 1 {
			return nil
		}
	}
	return s.file(f)
}

func (s *survey) file(f *found) error {
	if err := s.left.file(f.stat.Size); err != nil {
		return inEntry(f.name, err)
	}
	return nil
}
