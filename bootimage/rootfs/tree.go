package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// A tree is what a tar archive unpacks to. The parents of every name in it are in it too, and are directories.
type tree struct {
	objects map[string]*object // by cleaned name; the root is "."
	left    *budget
}

// An object is what one name, or several by hard links, stand for.
type object struct {
	attributes
	name   string // what its header says
	place  int    // of the header in the archive
	size   int64  // of a file's data
	target string // of a symbolic link
	skip   string // why it is left out, if it is

	names   []string // of a file, as they are in the end
	entries int      // of a directory
}

func newTree(b *budget) *tree {
	root := &object{name: ".", attributes: attributes{mode: fs.ModeDir | 0o755}}
	return &tree{objects: map[string]*object{".": root}, left: b}
}

// add unpacks the entry that is i-th in the archive.
func (t *tree) add(i int, h *tar.Header) error {
	if err := t.left.entry(len(h.Name) + len(h.Linkname)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // applies to entries of which archive/tar has told already
	}
	name, err := cleanName(h.Name)
	name = strings.Clone(name) // archive/tar may have cut it out of a megabyte of attributes
	if err == nil && h.Typeflag == tar.TypeLink {
		err = t.link(name, h.Linkname)
	} else if err == nil {
		err = t.create(i, name, h)
	}
	if err != nil {
		return inEntry(h.Name, err)
	}
	return nil
}

func (t *tree) create(i int, name string, h *tar.Header) error {
	o, err := newObject(h)
	if err != nil {
		return err
	}
	if o.mode.IsRegular() && o.skip == "" {
		if err := t.left.file(h.Size); err != nil {
			return err
		}
		o.size = h.Size
	}
	o.name, o.place = name, i
	return t.put(name, o)
}

func (t *tree) link(name, target string) error {
	to, err := cleanName(target)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", quote(target), err)
	}
	o, ok := t.objects[to]
	switch {
	case !ok:
		return fmt.Errorf("hard link to %s, which the archive does not have before it", quote(target))
	case o.mode.IsDir():
		return fmt.Errorf("hard link to %s, which is a directory", quote(target))
	}
	if err := t.left.name(len(o.target)); err != nil { // which is written for each of its names
		return err
	}
	return t.put(name, o)
}

// put gives o a name, which it takes from what had it before.
func (t *tree) put(name string, o *object) error {
	old := t.objects[name]
	switch {
	case old == nil:
		dir, err := t.parent(name)
		if err != nil {
			return err
		}
		dir.entries++
	case old.mode.IsDir() && o.mode.IsDir():
		old.attributes = o.attributes
		return nil
	case name == ".":
		return errors.New("the root is no directory")
	case old.entries > 0:
		return errors.New("it replaces a directory that is not empty")
	}
	t.objects[name] = o
	return nil
}

// parent gives the directory in which name is, and makes it if there is none.
func (t *tree) parent(name string) (*object, error) {
	dir := path.Dir(name)
	if o, ok := t.objects[dir]; ok {
		switch {
		case o.mode.IsDir():
			return o, nil
		case o.mode.Type() == fs.ModeSymlink:
			return nil, fmt.Errorf("it leads through %s, which is a symbolic link", quote(dir))
		}
		return nil, fmt.Errorf("it leads through %s, which is no directory", quote(dir))
	}
	above, err := t.parent(dir)
	if err != nil {
		return nil, err
	}
	if err := t.left.entry(len(dir)); err != nil { // its name is a part of the other's, but not where it is written
		return nil, err
	}
	above.entries++
	o := &object{name: dir, attributes: attributes{mode: fs.ModeDir | 0o755}}
	t.objects[dir] = o
	return o, nil
}

// cleanName judges a name of the archive and makes a relative path of it that is as short as possible.
func cleanName(stored string) (string, error) {
	switch {
	case stored == "":
		return "", errors.New("the name is empty")
	case strings.HasPrefix(stored, "/"):
		return "", errors.New("the name is absolute")
	case strings.IndexByte(stored, 0) >= 0:
		return "", errors.New("the name has a zero byte")
	}
	for part := range strings.SplitSeq(stored, "/") {
		if part == ".." {
			return "", errors.New(`the name has ".." in it`)
		}
	}
	name := path.Clean(stored)
	if len(name) > maxName {
		return "", errLongName
	}
	return name, nil
}

var errLongName = fmt.Errorf("the name is longer than %d bytes", maxName)
