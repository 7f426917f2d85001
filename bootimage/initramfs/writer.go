package initramfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"
)

// errNotRegular and its kind are wrapped in an *fs.PathError that names the call and the entry.
var (
	errNameSize = errors.New("name longer than the kernel reads")
	errNUL      = errors.New("zero byte in name")
	errRoot     = errors.New("name is the archive's root")
	errTrailer  = errors.New("name is that of the trailer")
	errMode     = errors.New("mode does not fit the call")
	errSize     = errors.New("larger than 4 GiB")
	errTarget   = errors.New("link target empty or longer than the kernel reads")
)

// A Writer writes an archive. Entries appear in the order of the calls; a directory that was not made before
// its first entry is made with mode 0755. Names are relative to the root of the archive: they are cleaned, and a leading
// slash or dots that lead out of the root do not matter. An entry other than a directory cannot be made twice.
//
// Errors of the underlying writer stay: every later call returns the first one. Other errors are of type *fs.PathError,
// leave the archive as it was, and match fs.ErrExist or fs.ErrInvalid where these apply.
//
// A Writer must not be used by several goroutines at once.
type Writer struct {
	w       io.Writer
	err     error
	inode   uint32
	entries map[string]fs.FileMode // the type of each entry by its cleaned name
	buf     []byte
	closed  bool
}

// NewWriter returns a Writer that writes to w, in one call for each entry's header and one for its data.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, entries: map[string]fs.FileMode{".": fs.ModeDir}}
}

// WriteFile adds a regular file. Of mode, the permission bits and setuid, setgid and sticky may be set. The
// data is at most 4 GiB - 1 byte.
func (w *Writer) WriteFile(name string, mode fs.FileMode, data []byte) error {
	const op = "writefile"
	if !mode.IsRegular() {
		return pathError(op, name, errMode)
	}
	if int64(len(data)) > 1<<32-1 {
		return pathError(op, name, errSize)
	}
	return w.add(op, name, entry{mode: mode, data: data})
}

// Mkdir adds a directory. When the directory exists, the kernel gives it the new mode. Type bits in mode other than
// fs.ModeDir are an error.
func (w *Writer) Mkdir(name string, mode fs.FileMode) error {
	const op = "mkdir"
	if mode.Type()&^fs.ModeDir != 0 {
		return pathError(op, name, errMode)
	}
	return w.add(op, name, entry{mode: mode | fs.ModeDir})
}

// Symlink adds a symbolic link to target, which is stored as it is.
func (w *Writer) Symlink(name, target string) error {
	const op = "symlink"
	if target == "" || len(target) >= pathMax || strings.IndexByte(target, 0) >= 0 {
		return pathError(op, name, errTarget)
	}
	return w.add(op, name, entry{mode: fs.ModeSymlink | 0o777, data: []byte(target)})
}

// Mknod adds a device node or, with major and minor zero, a named pipe or a socket. The type in mode is
// fs.ModeDevice for a block device, fs.ModeDevice|fs.ModeCharDevice for a character device, fs.ModeNamedPipe or
// fs.ModeSocket.
func (w *Writer) Mknod(name string, mode fs.FileMode, major, minor uint32) error {
	const op = "mknod"
	switch mode.Type() {
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
	case fs.ModeNamedPipe, fs.ModeSocket:
		if major != 0 || minor != 0 {
			return pathError(op, name, errMode)
		}
	default:
		return pathError(op, name, errMode)
	}
	return w.add(op, name, entry{mode: mode, major: major, minor: minor})
}

// Close writes the trailer. It does not close the underlying writer. Close may be called again, to no effect.
func (w *Writer) Close() error {
	if w.closed || w.err != nil {
		return w.err
	}
	w.closed = true
	return w.write(trailer, entry{links: 1}, 0)
}

type entry struct {
	mode         fs.FileMode
	links        uint32
	major, minor uint32
	data         []byte
}

func (w *Writer) add(op, name string, e entry) error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return pathError(op, name, fs.ErrClosed)
	}
	clean, err := checkName(name)
	if err != nil {
		return pathError(op, name, err)
	}
	if err := w.checkPlace(clean, e.mode); err != nil {
		return pathError(op, name, err)
	}
	bits, ok := unixMode(e.mode)
	if !ok {
		return pathError(op, name, errMode)
	}
	if err := w.addParents(clean); err != nil {
		return err
	}
	e.links = 1
	if e.mode.IsDir() {
		e.links = 2
	}
	w.entries[clean] = e.mode.Type()
	return w.write(clean, e, bits)
}

// checkPlace tells whether an entry of the given type may stand at the cleaned name.
func (w *Writer) checkPlace(name string, mode fs.FileMode) error {
	if old, ok := w.entries[name]; ok && (!old.IsDir() || !mode.IsDir()) {
		return fs.ErrExist
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		// The kernel follows a symbolic link here. What an archive means should not depend on that.
		if mode, ok := w.entries[dir]; ok && !mode.IsDir() {
			return fmt.Errorf("%q: %w", dir, syscall.ENOTDIR)
		}
	}
	return nil
}

func (w *Writer) addParents(name string) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		dir := name[:i]
		if _, ok := w.entries[dir]; ok {
			continue
		}
		w.entries[dir] = fs.ModeDir
		if err := w.write(dir, entry{links: 2}, modeDir|0o755); err != nil {
			return err
		}
	}
	return nil
}

// write appends one entry, whatever it says.
func (w *Writer) write(name string, e entry, mode uint32) error {
	if name != trailer {
		w.inode++
	}
	fields := [fieldCount]uint32{
		fieldMode:     mode,
		fieldLinks:    e.links,
		fieldFileSize: uint32(len(e.data)),
		fieldRMajor:   e.major,
		fieldRMinor:   e.minor,
		fieldNameSize: uint32(len(name) + 1),
	}
	if name != trailer {
		fields[fieldInode] = w.inode
	}
	w.buf = append(w.buf[:0], magic...)
	for _, f := range fields {
		w.buf = fmt.Appendf(w.buf, "%08x", f)
	}
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, 0)
	w.pad(int64(len(w.buf)))
	w.flush(w.buf)

	w.flush(e.data)
	w.buf = w.buf[:0]
	w.pad(int64(len(e.data)))
	w.flush(w.buf)
	return w.err
}

func (w *Writer) pad(n int64) {
	w.buf = append(w.buf, make([]byte, padding(n))...)
}

func (w *Writer) flush(p []byte) {
	if w.err != nil || len(p) == 0 {
		return
	}
	_, w.err = w.w.Write(p)
}

func checkName(name string) (string, error) {
	clean := cleanName(name)
	switch {
	case clean == ".":
		return "", errRoot
	case clean == trailer:
		return "", errTrailer
	case len(clean) >= pathMax:
		return "", errNameSize
	case strings.IndexByte(clean, 0) >= 0:
		return "", errNUL
	}
	return clean, nil
}

func pathError(op, name string, err error) error {
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrClosed) {
		err = fmt.Errorf("%w: %w", fs.ErrInvalid, err)
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
