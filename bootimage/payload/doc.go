// Package payload finds the compressed kernel inside a bzImage and unpacks it on
// the host, which takes a fraction of what the guest's own unpacking takes.
//
// Where it lies, the setup header says (Documentation/arch/x86/boot.rst, "Details
// of Header Fields"; protocol 2.08 or newer):
//
//	(setup_sects+1)*512 + payload_offset         start
//	  + payload_length - 4                       unpacked size, 32 bits, little-endian
//	  + payload_length                           end
//
// What it is, its first bytes say:
//
//	gzip   1f 8b               klauspost's gzip
//	zstd   28 b5 2f fd         klauspost's zstd
//	LZ4    02 21 4c 18         pierrec's block decoder; the frame is the legacy one
//	XZ     fd 37 7a 58 5a 00   therootcompany's xz, which knows the x86 BCJ filter
//	bzip2, LZMA, LZO           recognized, not unpacked (ErrUnsupported)
//
// The size behind the stream comes from the kernel's build (scripts/Makefile.lib,
// size_append), except that gzip ends in its own ISIZE, which serves as such. So
// the size belongs to a gzip stream, and to no other.
//
// What is unpacked is an ELF vmlinux with the kernel's relocation tables behind it
// (package kaslr).
//
// All of the image is foreign input. The declared size is checked before memory is
// allocated for it, no decoder gets to write more, and what a decoder may take for
// itself is bounded by a constant.
package payload
