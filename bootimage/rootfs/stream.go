package rootfs

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// maxWindow is how much history a compressed stream may refer to, in bytes, which is kept in memory: what zstd --long and
// xz -9 use.
const maxWindow = 128 << 20

// formats are the compressed formats by their first bytes.
var formats = []struct {
	name  string
	magic string
	open  func(io.Reader) (io.Reader, func(), error)
}{
	{"gzip", "\x1f\x8b", openGzip},
	{"zstd", "\x28\xb5\x2f\xfd", openZstd},
	{"xz", "\xfd7zXZ\x00", openXZ},
	{"bzip2", "BZh", nil},
	{"lz4", "\x04\x22\x4d\x18", nil},
}

// openStream gives the tar in f from its beginning, unpacked, of which no more than limit bytes can be read. The caller calls
// done in the end.
//
// A tar that is not compressed can be sought in, and has no limit but its size.
func openStream(f io.ReadSeeker, limit int64) (tar io.Reader, done func(), err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	var head [6]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	for _, format := range formats {
		if !bytes.HasPrefix(head[:n], []byte(format.magic)) {
			continue
		}
		if format.open == nil {
			return nil, nil, fmt.Errorf("compressed by %s, which is not supported; gzip, zstd and xz are", format.name)
		}
		r, done, err := format.open(f)
		if err != nil {
			return nil, nil, fmt.Errorf("compressed by %s: %w", format.name, err)
		}
		return &limited{r: r, left: limit, limit: limit}, done, nil
	}
	return f, func() {}, nil
}

func openGzip(r io.Reader) (io.Reader, func(), error) {
	d, err := gzip.NewReader(r)
	return d, func() {}, err
}

func openZstd(r io.Reader) (io.Reader, func(), error) {
	d, err := zstd.NewReader(r,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow),
	)
	if err != nil {
		return nil, nil, err
	}
	return d, d.Close, nil
}

func openXZ(r io.Reader) (io.Reader, func(), error) {
	d, err := xz.NewReader(r, maxWindow)
	return d, func() {}, err
}

// limited is an error, not an end, behind its limit.
type limited struct {
	r           io.Reader
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, fmt.Errorf("it unpacks to more than %d bytes", l.limit)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
