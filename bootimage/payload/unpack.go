package payload

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// maxWindow is how much history a stream may refer to, in bytes: what zstd -22 and
// xz with the largest dictionary of the kernel's build use. A zstd stream's history
// is the output, an XZ stream's is memory on top.
const maxWindow = 128 << 20

// zstdSlack is room behind the output that lets the decoder use its fast path for
// the last blocks, too: the largest block, and what it copies at a time.
const zstdSlack = 128<<10 + 64

var (
	errMore = errors.New("it unpacks to more than the size it declares")
	errLess = errors.New("it unpacks to less than the size it declares")
)

// Unpack returns the kernel, all of Size bytes: an ELF vmlinux, behind which may be
// relocation tables. Besides those it takes at most 128 MiB and what a decoder
// keeps in its tables.
//
// An error is one line that reads well behind the name of the kernel's file. It
// has ErrUnsupported in it if the kernel may be able to unpack itself nevertheless.
// Unpack changes nothing; any number of goroutines may call it.
func (p Payload) Unpack() ([]byte, error) {
	var out []byte
	var err error
	switch p.format {
	case Gzip:
		out, err = p.gunzip()
	case Zstd:
		out, err = p.unzstd()
	case LZ4:
		out = make([]byte, p.size)
		err = unlz4(p.stream, out)
	case XZ:
		out, err = p.unxz()
	default:
		return nil, fmt.Errorf("kernel compressed by %v: %w", p.format, ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("the kernel's %v stream: %w", p.format, err)
	}
	return out, nil
}

func (p Payload) unzstd() ([]byte, error) {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow),
		// Not WithDecoderMaxMemory, which would limit the window too: zstd -22 asks for
		// 128 MiB whatever the kernel's size, and needs no more than the output.
		zstd.WithDecodeAllCapLimit(true),
	)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	out, err := d.DecodeAll(p.stream, make([]byte, 0, p.size+zstdSlack))
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, fmt.Errorf("%w: %w", err, ErrUnsupported)
	case errors.Is(err, zstd.ErrDecoderSizeExceeded) || len(out) > p.size:
		return nil, errMore
	case err != nil:
		return nil, err
	case len(out) < p.size:
		return nil, errLess
	}
	return out[:p.size:p.size], nil
}

func (p Payload) gunzip() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(p.stream))
	if err != nil {
		return nil, err
	}
	r.Multistream(false) // as the kernel: the first stream is all
	return fill(r, p.size)
}

func (p Payload) unxz() ([]byte, error) {
	r, err := xz.NewReader(bytes.NewReader(p.stream), maxWindow)
	if err != nil {
		return nil, xzError(err)
	}
	r.Multistream(false)
	out, err := fill(r, p.size)
	return out, xzError(err)
}

// xzError marks the errors for streams that may be whole.
func xzError(err error) error {
	for _, e := range []error{xz.ErrMemlimit, xz.ErrOptions, xz.ErrUnsupportedCheck} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", err, ErrUnsupported)
		}
	}
	return err
}

// fill reads size bytes, and the end behind them, as checksums come there.
func fill(r io.Reader, size int) ([]byte, error) {
	out := make([]byte, size)
	switch _, err := io.ReadFull(r, out); err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		return nil, errLess
	default:
		return nil, err
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return nil, errMore
	case err != io.EOF:
		return nil, err
	}
	return out, nil
}
