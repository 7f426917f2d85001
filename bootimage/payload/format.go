package payload

import (
	"bytes"
	"fmt"
)

// Format is a compression that Linux/x86 kernels can be built with.
type Format uint8

const (
	Gzip  Format = iota + 1 // CONFIG_KERNEL_GZIP
	Zstd                    // CONFIG_KERNEL_ZSTD
	LZ4                     // CONFIG_KERNEL_LZ4
	XZ                      // CONFIG_KERNEL_XZ
	Bzip2                   // CONFIG_KERNEL_BZIP2; Unpack gives ErrUnsupported
	LZMA                    // CONFIG_KERNEL_LZMA; Unpack gives ErrUnsupported
	LZO                     // CONFIG_KERNEL_LZO; Unpack gives ErrUnsupported
)

var formats = []struct {
	format Format
	name   string
	magic  string
}{
	{Gzip, "gzip", "\x1f\x8b"},
	{Zstd, "zstd", "\x28\xb5\x2f\xfd"},
	{LZ4, "LZ4", lz4Magic},
	{XZ, "XZ", "\xfd7zXZ\x00"},
	{Bzip2, "bzip2", "BZh"},
	{LZMA, "LZMA", "\x5d\x00\x00"},
	{LZO, "LZO", "\x89LZO"},
}

func (f Format) String() string {
	for _, k := range formats {
		if k.format == f {
			return k.name
		}
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// formatOf tells a stream's format by its first bytes.
func formatOf(stream []byte) (Format, bool) {
	for _, k := range formats {
		if bytes.HasPrefix(stream, []byte(k.magic)) {
			return k.format, true
		}
	}
	return 0, false
}
