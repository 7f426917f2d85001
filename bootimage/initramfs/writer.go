package initramfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
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
	errSize     = errors.New("larger than 4 GiB - 1 byte")
	errNegative = errors.New("negative size")
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
	uid     uint32
	gid     uint32
	entries map[string]fs.FileMode // the type of each entry by its cleaned name, the parents of all among them
	buf     []byte
	closed  bool
}

// NewWriter returns a Writer that writes to w, in one call for each entry's header and one for its data.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, entries: map[string]fs.FileMode{".": fs.ModeDir}}
}

// SetOwner sets who owns the entries that follow; to begin with it is 0, 0. Directories that are made only because an
// entry is in them belong to 0, 0 whatever is set.
func (w *Writer) SetOwner(uid, gid uint32) { w.uid, w.gid = uid, gid }

// WriteFile adds a regular file. Of mode, the permission bits and setuid, setgid and sticky may be set. The
// data is at most 4 GiB - 1 byte.
func (w *Writer) WriteFile(name string, mode fs.FileMode, data []byte) error {
	const op = "writefile"
	if !mode.IsRegular() {
		return pathError(op, name, errMode)
	}
	if int64(len(data)) > maxFile {
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
	inode        uint32 // 0 if it is to have a new one
	links        uint32
	uid, gid     uint32
	major, minor uint32
	size         int64 // of the data behind the header
	data         []byte
}

func (w *Writer) add(op, name string, e entry) error {
	if err := w.usable(op, name); err != nil {
		return err
	}
	bits, ok := unixMode(e.mode)
	if !ok {
		return pathError(op, name, errMode)
	}
	dirs, clean, err := w.place(name, e.mode)
	if err != nil {
		return pathError(op, name, err)
	}
	for _, dir := range dirs {
		w.writeParent(dir)
	}
	e.links = 1
	if e.mode.IsDir() {
		e.links = 2
	}
	e.uid, e.gid = w.uid, w.gid
	w.entries[clean] = e.mode.Type()
	return w.write(clean, e, bits)
}

// usable gives the error that any call returns from now on.
func (w *Writer) usable(op, name string) error {
	if w.err == nil && w.closed {
		return pathError(op, name, fs.ErrClosed)
	}
	return w.err
}

// place tells whether an entry of the given type may have the name. It gives the name cleaned, and the directories
// that must be made for it, outermost first.
func (w *Writer) place(name string, mode fs.FileMode) (dirs []string, clean string, err error) {
	clean, err = checkName(name)
	if err != nil {
		return nil, "", err
	}
	if old, ok := w.entries[clean]; ok && (!old.IsDir() || !mode.IsDir()) {
		return nil, "", fs.ErrExist
	}
	for dir := parent(clean); ; dir = parent(dir) {
		mode, ok := w.entries[dir]
		if !ok {
			dirs = append(dirs, dir)
			continue
		}
		// The kernel follows a symbolic link here. What an archive means should not depend on that.
		if !mode.IsDir() {
			return nil, "", fmt.Errorf("%q: %w", dir, syscall.ENOTDIR)
		}
		slices.Reverse(dirs)
		return dirs, clean, nil
	}
}

// parent is path.Dir for cleaned names.
func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}

func (w *Writer) writeParent(dir string) {
	w.entries[dir] = fs.ModeDir
	w.write(dir, entry{links: 2}, modeDir|0o755) // the error stays for the call that follows
}

// write appends one entry, whatever it says.
func (w *Writer) write(name string, e entry, mode uint32) error {
	e.size = int64(len(e.data))
	w.writeHeader(name, e, mode)
	w.flush(e.data)
	w.flushPadding(e.size)
	return w.err
}

func (w *Writer) writeHeader(name string, e entry, mode uint32) {
	if name != trailer && e.inode == 0 {
		w.inode++
		e.inode = w.inode
	}
	fields := [fieldCount]uint32{
		fieldInode:    e.inode,
		fieldMode:     mode,
		fieldUID:      e.uid,
		fieldGID:      e.gid,
		fieldLinks:    e.links,
		fieldFileSize: uint32(e.size),
		fieldRMajor:   e.major,
		fieldRMinor:   e.minor,
		fieldNameSize: uint32(len(name) + 1),
	}
	w.buf = append(w.buf[:0], magic...)
	for _, f := range fields {
		w.buf = fmt.Appendf(w.buf, "%08x", f)
	}
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, 0)
	w.buf = append(w.buf, zeros[:padding(int64(len(w.buf)))]...)
	w.flush(w.buf)
}

var zeros [alignment]byte

func (w *Writer) flushPadding(n int64) { w.flush(zeros[:padding(n)]) }

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
	case clean == trailer || strings.HasPrefix(clean, trailer+"/"): // the directory would end the archive
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
