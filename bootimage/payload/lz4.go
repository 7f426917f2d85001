package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pierrec/lz4/v4"
)

// The legacy frame of LZ4 (lz4_Frame_format.md, "Legacy frame"): the magic number,
// then blocks, each behind its compressed size, of 8 MiB but for the last one.
const (
	lz4Magic = "\x02\x21\x4c\x18"
	lz4Block = 8 << 20
	lz4Size  = 4 // a block's size
)

// unlz4 unpacks stream to fill out. The library's block decoder writes to out
// directly; its reader would copy.
func unlz4(stream, out []byte) error {
	stream, ok := bytes.CutPrefix(stream, []byte(lz4Magic))
	if !ok {
		return errors.New("no legacy frame")
	}
	for len(stream) > 0 {
		block, rest, err := cutLZ4(stream)
		if err != nil {
			return err
		}
		stream = rest
		if len(out) == 0 {
			return errMore
		}
		n, err := lz4.UncompressBlock(block, out[:min(len(out), lz4Block)])
		if err != nil {
			return err
		}
		if n < lz4Block && len(stream) > 0 {
			return fmt.Errorf("a block of %d bytes, which is not the last", n)
		}
		out = out[n:]
	}
	if len(out) > 0 {
		return errLess
	}
	return nil
}

// cutLZ4 returns the first block, and what comes behind it.
func cutLZ4(stream []byte) (block, rest []byte, err error) {
	if len(stream) < lz4Size {
		return nil, nil, errors.New("truncated within a block's size")
	}
	size, stream := binary.LittleEndian.Uint32(stream), stream[lz4Size:]
	if uint64(size) > uint64(len(stream)) {
		return nil, nil, fmt.Errorf("truncated: %d bytes of a block of %d", len(stream), size)
	}
	return stream[:size:size], stream[size:], nil
}
