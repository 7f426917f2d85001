package payload

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrUnsupported is in errors for a kernel that may well be whole, but has to be
// left to unpack itself: an old boot protocol, or a compression that is not known
// here or wants too much memory. Test for it with errors.Is.
var ErrUnsupported = errors.New("not unpacked on the host")

// maxSize limits what a kernel may unpack to, in bytes. Distributions' kernels
// with all that can be built in stay below 100 MiB.
const maxSize = 512 << 20

// Fields of the setup header (boot.rst, "The Real-Mode Kernel Header").
const (
	offSetupSects    = 0x1f1
	offMagic         = 0x202
	offVersion       = 0x206
	offPayloadOffset = 0x248
	offPayloadLength = 0x24c
	offInitSize      = 0x260
	endOfHeader      = 0x264 // behind the last field that is read here

	hdrMagic         = "HdrS"
	protocolPayload  = 0x0208 // brought payload_offset and payload_length
	protocolInitSize = 0x020a // brought init_size

	sectSize          = 512
	defaultSetupSects = 4 // what 0 means
	sizeField         = 4 // the unpacked size at the payload's end
)

// Payload is the compressed kernel of a bzImage. The zero value is none.
type Payload struct {
	format Format
	size   int    // unpacked, in bytes
	stream []byte // without the size behind it; aliases the image
}

// Format returns how the kernel is compressed.
func (p Payload) Format() Format { return p.format }

// Size returns how large the kernel says to be when unpacked, in bytes: at most
// 512 MiB and init_size.
func (p Payload) Size() int { return p.size }

// Packed returns how large the compressed stream is, in bytes.
func (p Payload) Packed() int { return len(p.stream) }

// Find finds the compressed kernel in image, the content of a bzImage. Nothing is
// copied, so image must stay unchanged and mapped until it has been unpacked.
//
// An error is one line that reads well behind the name of the kernel's file. It
// has ErrUnsupported in it if the image is a bzImage, only none for this package.
func Find(image []byte) (Payload, error) {
	if len(image) < endOfHeader || string(image[offMagic:offMagic+len(hdrMagic)]) != hdrMagic {
		return Payload{}, errors.New("not a bzImage")
	}
	packed, err := locate(image)
	if err != nil {
		return Payload{}, err
	}
	format, ok := formatOf(packed)
	if !ok {
		return Payload{}, fmt.Errorf("bzImage of an unknown compression (% x): %w", packed[:sizeField], ErrUnsupported)
	}
	end := len(packed) - sizeField
	size := binary.LittleEndian.Uint32(packed[end:])
	if err := checkSize(image, size); err != nil {
		return Payload{}, err
	}
	if format != Gzip {
		packed = packed[:end:end] // gzip's size is part of its stream
	}
	return Payload{format, int(size), packed}, nil
}

// locate returns the payload with the size at its end, which is at least 8 bytes.
func locate(image []byte) ([]byte, error) {
	version := binary.LittleEndian.Uint16(image[offVersion:])
	if version < protocolPayload {
		return nil, fmt.Errorf("bzImage of boot protocol %d.%02d, which does not say where its kernel lies: %w", version>>8, version&0xff, ErrUnsupported)
	}
	sects := uint64(image[offSetupSects])
	if sects == 0 {
		sects = defaultSetupSects
	}
	// Sums of 32-bit values, so they cannot wrap.
	start := (sects+1)*sectSize + uint64(binary.LittleEndian.Uint32(image[offPayloadOffset:]))
	length := uint64(binary.LittleEndian.Uint32(image[offPayloadLength:]))
	if length < 2*sizeField {
		return nil, fmt.Errorf("bzImage with a compressed kernel of %d bytes (payload_length)", length)
	}
	if end := start + length; end > uint64(len(image)) {
		return nil, fmt.Errorf("truncated bzImage: %d bytes, the compressed kernel ends at %d", len(image), end)
	}
	return image[start : start+length : start+length], nil
}

// checkSize judges the declared size. The kernel unpacks itself within init_size,
// so no honest size is greater.
func checkSize(image []byte, size uint32) error {
	limit := uint32(maxSize)
	if binary.LittleEndian.Uint16(image[offVersion:]) >= protocolInitSize {
		limit = min(limit, binary.LittleEndian.Uint32(image[offInitSize:]))
	}
	if size == 0 || size > limit {
		return fmt.Errorf("bzImage whose kernel unpacks to %d bytes; 1 to %d are possible", size, limit)
	}
	return nil
}
