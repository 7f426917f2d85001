package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Extract unpacks the root file system at source, a directory or a tar archive, into dir, which must be there and empty. What is said of Write holds here too. Nothing
// is made outside of dir, whatever the source's names and links are. Owners are the source's if this process is root's, and else its own. After an error dir has
// a part of it.
func Extract(dir, source string, o Options) (Report, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, err
	}
	defer root.Close()
	if err := checkEmpty(root); err != nil {
		return Report{}, fmt.Errorf("%s: %w", dir, err)
	}
	d := &directory{root: root, owners: os.Geteuid() == 0}
	r, err := readNamed(d, source, o)
	if err != nil {
		return r, err
	}
	return r, d.finish()
}

// checkEmpty holds that nothing is there already, of which the result would be a mixture.
func checkEmpty(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	switch _, err := f.Readdirnames(1); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("not empty")
	default:
		return cause(err)
	}
}

// directory is the sink of Extract.
type directory struct {
	root   *os.Root
	owners bool
	dirs   []directoryMode
}

// A directoryMode is set at the end, for nothing can be made in a directory that is not writable.
type directoryMode struct {
	name string
	attributes
}

func (d *directory) file(names []string, a attributes, size int64, r io.Reader) error {
	f, err := d.root.OpenFile(names[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names[1:] {
		// In a directory that is copied another name may come where its parents have not come yet.
		if err := d.root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return err
		}
		if err := d.root.Link(names[0], name); err != nil {
			return err
		}
	}
	return d.set(names[0], a)
}

func (d *directory) node(name string, a attributes, target string) error {
	switch a.mode.Type() {
	case fs.ModeDir:
		d.dirs = append(d.dirs, directoryMode{name, a})
		return d.root.MkdirAll(name, 0o700)
	case fs.ModeSymlink:
		if err := d.root.Symlink(target, name); err != nil {
			return err
		}
		return d.own(name, a)
	}
	if err := d.pipe(name); err != nil {
		return err
	}
	return d.set(name, a)
}

func (d *directory) pipe(name string) error {
	parent, err := d.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	return unix.Mkfifoat(int(parent.Fd()), path.Base(name), 0o600)
}

// set sets the owner, and then the permissions, of which a change of owner would take setuid away.
func (d *directory) set(name string, a attributes) error {
	if err := d.own(name, a); err != nil {
		return err
	}
	return d.root.Chmod(name, a.mode&^fs.ModeType)
}

func (d *directory) own(name string, a attributes) error {
	if !d.owners {
		return nil
	}
	return d.root.Lchown(name, int(a.uid), int(a.gid))
}

// finish sets what directories are to have, those within others first.
func (d *directory) finish() error {
	for i := len(d.dirs) - 1; i >= 0; i-- {
		if err := d.set(d.dirs[i].name, d.dirs[i].attributes); err != nil {
			return inEntry(d.dirs[i].name, err)
		}
	}
	return nil
}
