package kernelcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"golang.org/x/sys/unix"
)

// The trailer behind an entry's kernel, little-endian. It is a whole page, so that
// the kernel's last page holds nothing else of interest; what is not named is zero.
//
//	0   magic
//	24  length of the kernel, 8 bytes
//	32  CRC-32C (Castagnoli) of the kernel, 4 bytes
//	64  SHA-256 of the packed kernel, 32 bytes
const (
	trailerMagic = "govmm unpacked kernel 1\n"
	trailerSize  = 4096

	offLength = 24
	offCRC    = 32
	offKey    = 64

	maxEntry = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func trailer(k key, data []byte) []byte {
	b := make([]byte, trailerSize)
	copy(b, trailerMagic)
	binary.LittleEndian.PutUint64(b[offLength:], uint64(len(data)))
	binary.LittleEndian.PutUint32(b[offCRC:], crc32.Checksum(data, castagnoli))
	copy(b[offKey:], k[:])
	return b
}

var errEntry = errors.New("not an entry")

// readTrailer checks the trailer and sets Data. It reads no more than the trailer.
func (e *Entry) readTrailer(k key) error {
	t := e.mapping[len(e.mapping)-trailerSize:]
	n := binary.LittleEndian.Uint64(t[offLength:])
	if string(t[:len(trailerMagic)]) != trailerMagic || key(t[offKey:offKey+len(k)]) != k || n != uint64(len(e.mapping)-trailerSize) {
		return errEntry
	}
	e.Data = e.mapping[:n:n]
	return nil
}

// checkSum reads all of the entry.
func (e *Entry) checkSum() error {
	t := e.mapping[len(e.Data):]
	if crc32.Checksum(e.Data, castagnoli) != binary.LittleEndian.Uint32(t[offCRC:]) {
		return errEntry
	}
	return nil
}

// store writes a new entry, makes room for it, and gives it as Open would find it.
func (d *Dir) store(k key, data []byte) (*Entry, error) {
	size := int64(len(data)) + trailerSize
	if size > d.limit() {
		return nil, fmt.Errorf("a kernel of %d bytes is more than the cache may take", len(data))
	}
	if err := d.makeRoom(size, k); err != nil {
		return nil, err
	}
	if err := d.writeFile(d.entryPath(k), data, trailer(k, data)); err != nil {
		return nil, err
	}
	e, _, err := d.openEntry(k)
	if err != nil {
		return nil, err
	}
	if err := e.readTrailer(k); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// writeFile makes a file appear under its name, whole.
func (d *Dir) writeFile(path string, parts ...[]byte) error {
	f, err := os.CreateTemp(d.Path, tempPattern)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when it has its name
	for _, p := range parts {
		if _, err := f.Write(p); err != nil {
			f.Close()
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

const tempPattern = "*.tmp"

// prepare makes the directory if need be and judges whether it can be used.
func (d *Dir) prepare() error {
	for _, path := range []string{d.Path, d.notesPath()} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		if err := judge(path); err != nil {
			return err
		}
	}
	return nil
}

var errOthers = errors.New("others than its user may write there")

// judge holds that a directory is its user's alone. A symbolic link to it has to be his too: it may be another's in a home that root has taken over by sudo.
func judge(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if st.Uid != uint32(os.Geteuid()) {
			return fmt.Errorf("%s: %w", path, errOthers)
		}
		if err := unix.Stat(path, &st); err != nil {
			return &os.PathError{Op: "stat", Path: path, Err: err}
		}
	}
	if (access{st.Uid, st.Mode}).others() {
		return fmt.Errorf("%s: %w", path, errOthers)
	}
	return nil
}

func (d *Dir) limit() int64 {
	if d.Limit == 0 {
		return DefaultLimit
	}
	return d.Limit
}
