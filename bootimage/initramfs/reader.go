package initramfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// A Header describes one entry of an archive.
type Header struct {
	Name         string      // cleaned, relative to the root, which is "."; never leads out of it
	Mode         fs.FileMode // type and permissions
	Size         int64       // of the data in bytes, 0 to 4 GiB - 1; 0 if not a regular file
	Linkname     string      // target of a symbolic link, as stored
	Major, Minor uint32      // of a device node
	UID, GID     uint32
	Mtime        uint32 // seconds since 1970

	// Entries with the same Inode and Links above 1 are names of one file, whose data is with the last of them.
	Inode, Links uint32
}

// A Reader reads an archive from front to back. It reads no further than the end of the trailer's name, and uses memory
// for names and link targets only. It must not be used by several goroutines at once.
type Reader struct {
	r      io.Reader
	err    error // sticks, io.EOF after the trailer included
	off    int64 // bytes taken from r
	start  int64 // where the current entry begins
	name   string
	remain int64 // data of the current entry not yet read
	pad    int64 // zeros after the data
	buf    [headerSize]byte
}

// NewReader returns a Reader on the plain, not compressed, archive in r. It does not buffer.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next goes to the next entry, skipping what is unread of the current one's data. After the trailer, or where the
// input ends in place of an entry, the error is io.EOF. The error of an archive that is cut short is
// io.ErrUnexpectedEOF, that of a broken one a *FormatError; either is then returned by every later call.
func (r *Reader) Next() (*Header, error) {
	if r.err != nil {
		return nil, r.err
	}
	h, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	return h, nil
}

// Read reads the data of the current entry, which is that of a regular file, and returns io.EOF at its end.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.remain == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.remain {
		p = p[:r.remain]
	}
	n, err := r.r.Read(p)
	r.off += int64(n)
	r.remain -= int64(n)
	if err == io.EOF {
		err = nil
		if r.remain > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		r.err = err
	}
	return n, err
}

func (r *Reader) next() (*Header, error) {
	if err := r.skip(r.remain + r.pad); err != nil {
		return nil, err
	}
	r.remain, r.pad = 0, 0
	r.start, r.name = r.off, ""

	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	stored, err := r.readName(f[fieldNameSize])
	if err != nil {
		return nil, err
	}
	if stored == trailer {
		return nil, io.EOF
	}
	r.name = stored
	if err := r.skip(padding(int64(headerSize) + int64(f[fieldNameSize]))); err != nil {
		return nil, err
	}

	mode, ok := goMode(f[fieldMode])
	if !ok {
		return nil, r.fault("unknown file type in mode %#o", f[fieldMode])
	}
	h := &Header{
		Name:  cleanName(stored),
		Mode:  mode,
		Major: f[fieldRMajor], Minor: f[fieldRMinor],
		UID: f[fieldUID], GID: f[fieldGID],
		Mtime: f[fieldMtime],
		Inode: f[fieldInode], Links: f[fieldLinks],
	}
	return h, r.openData(h, f[fieldFileSize])
}

// openData prepares for the data of size bytes that follows the name.
func (r *Reader) openData(h *Header, size uint32) error {
	r.pad = padding(int64(size))
	switch {
	case h.Mode.IsRegular():
		h.Size = int64(size)
		r.remain = h.Size
	case h.Mode.Type() == fs.ModeSymlink:
		target, err := r.readTarget(size)
		if err != nil {
			return err
		}
		h.Linkname = target
	case size != 0:
		return r.fault("%d bytes of data in an entry that is no file", size)
	}
	return nil
}

// fields reads a header. The error is io.EOF if there is nothing at all.
func (r *Reader) fields() (f [fieldCount]uint32, err error) {
	n, err := io.ReadFull(r.r, r.buf[:])
	r.off += int64(n)
	if err != nil {
		return f, err
	}
	if string(r.buf[:len(magic)]) != magic {
		return f, r.fault("no newc header")
	}
	for i := range f {
		digits := r.buf[len(magic)+i*fieldSize:][:fieldSize]
		for _, c := range digits {
			v, ok := hexDigit(c)
			if !ok {
				return f, r.fault("header field %d is no hexadecimal number", i)
			}
			f[i] = f[i]<<4 | v
		}
	}
	return f, nil
}

func (r *Reader) readName(size uint32) (string, error) {
	if size < 2 || size > pathMax {
		return "", r.fault("size of name is %d", size)
	}
	s, err := r.readString(size)
	if err != nil {
		return "", err
	}
	name, ok := strings.CutSuffix(s, "\x00")
	if !ok || strings.IndexByte(name, 0) >= 0 {
		return "", r.fault("name does not end with its one zero byte")
	}
	return name, nil
}

func (r *Reader) readTarget(size uint32) (string, error) {
	if size == 0 || size >= pathMax {
		return "", r.fault("size of link target is %d", size)
	}
	s, err := r.readString(size)
	if err == nil && strings.IndexByte(s, 0) >= 0 {
		err = r.fault("zero byte in link target")
	}
	return s, err
}

// readString reads size bytes, which the caller has bounded.
func (r *Reader) readString(size uint32) (string, error) {
	p := make([]byte, size)
	n, err := io.ReadFull(r.r, p)
	r.off += int64(n)
	return string(p), unexpected(err)
}

func (r *Reader) skip(n int64) error {
	if n == 0 {
		return nil
	}
	m, err := io.CopyN(io.Discard, r.r, n)
	r.off += m
	return unexpected(err)
}

func (r *Reader) fault(format string, args ...any) error {
	return &FormatError{Offset: r.start, Name: r.name, Reason: fmt.Sprintf(format, args...)}
}

// unexpected turns the end of the input, where more must follow, into an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func hexDigit(c byte) (uint32, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint32(c - '0'), true
	case 'a' <= c && c <= 'f':
		return uint32(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return uint32(c-'A') + 10, true
	}
	return 0, false
}
