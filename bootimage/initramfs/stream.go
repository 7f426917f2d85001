package initramfs

import (
	"io"
	"io/fs"
)

// WriteFileFrom adds a regular file whose data are the next size bytes of r, at most 4 GiB - 1; what r has behind
// them is not read. The data are not held in memory. Of mode, the permission bits and setuid, setgid and sticky may be set.
//
// The file gets further names, hard links, by links. Only the last of its names is followed by the data, which is
// where cpio has it too; to the kernel the place does not matter.
//
// When r ends early or gives another error, the archive is broken in the middle of the file: the error, of type
// *fs.PathError with io.ErrUnexpectedEOF or that of r in it, is returned by every later call too.
func (w *Writer) WriteFileFrom(name string, mode fs.FileMode, size int64, r io.Reader, links ...string) error {
	const op = "writefile"
	if err := w.usable(op, name); err != nil {
		return err
	}
	bits, ok := unixMode(mode)
	switch {
	case !ok || !mode.IsRegular():
		return pathError(op, name, errMode)
	case size < 0:
		return pathError(op, name, errNegative)
	case size > maxFile:
		return pathError(op, name, errSize)
	}
	made, err := w.placeAll(op, append([]string{name}, links...))
	if err != nil {
		return err
	}
	w.writeNames(made, bits, size, 1+len(links))
	w.copyData(op, name, size, r)
	w.flushPadding(size)
	return w.err
}

// placeAll enters the names of one file, or none of them. It gives what is to be written, in that order: the cleaned
// names, and the directories that must be made for them.
func (w *Writer) placeAll(op string, names []string) (made []string, err error) {
	for _, name := range names {
		dirs, clean, err := w.place(name, 0)
		if err != nil {
			for _, m := range made {
				delete(w.entries, m)
			}
			return nil, pathError(op, name, err)
		}
		for _, dir := range dirs {
			w.entries[dir] = fs.ModeDir
		}
		w.entries[clean] = 0
		made = append(append(made, dirs...), clean)
	}
	return made, nil
}

// writeNames writes what placeAll gave, of which the last is the file's last name, without the data behind it.
func (w *Writer) writeNames(made []string, bits uint32, size int64, links int) {
	e := entry{links: uint32(links), uid: w.uid, gid: w.gid}
	for i, name := range made {
		if w.entries[name].IsDir() {
			w.writeParent(name)
			continue
		}
		if i == len(made)-1 {
			e.size = size
		}
		w.writeHeader(name, e, bits)
		if e.inode == 0 {
			e.inode = w.inode
		}
	}
}

func (w *Writer) copyData(op, name string, size int64, r io.Reader) {
	if w.err != nil || size == 0 {
		return
	}
	if _, err := io.CopyN(w.w, r, size); err != nil {
		w.err = &fs.PathError{Op: op, Path: name, Err: unexpected(err)}
	}
}
