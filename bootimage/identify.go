package bootimage

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// HeadSize is how many bytes from a file's start let Identify say all that it can.
const HeadSize = 4096

// Magic numbers at fixed offsets.
const (
	arm64Magic    = "ARM\x64" // Documentation/arch/arm64/booting.rst
	riscvMagic    = "RSC\x05" // Documentation/arch/riscv/boot-image-header.rst
	imageMagicOff = 56        // of both
	zbootMagic    = "zimg"    // drivers/firmware/efi/libstub/zboot-header.S
	zbootMagicOff = 4
	mzMagic       = "MZ" // DOS header of EFI programs
	gzipMagic     = "\x1f\x8b"
)

// notKernels are other files that people hand over as a kernel, by their first bytes.
var notKernels = []struct{ magic, name string }{
	{"\xfd7zXZ\x00", "xz-compressed file; unpack it first"},
	{"\x28\xb5\x2f\xfd", "zstd-compressed file; unpack it first"},
	{"\x02\x21\x4c\x18", "LZ4-compressed file; unpack it first"},
	{"\x04\x22\x4d\x18", "LZ4-compressed file; unpack it first"},
	{"BZh", "bzip2-compressed file; unpack it first"},
	{"070701", "cpio archive, an initrd rather than a kernel"},
	{"070702", "cpio archive, an initrd rather than a kernel"},
	{"QFI\xfb", "qcow2 disk image, not a kernel"},
	{"!<arch>\n", "archive or Debian package, not a kernel"},
}

// Identify tells by content what kind of kernel a file is. head is the file's
// start, HeadSize bytes or all of a shorter file; the whole file will do as well.
//
// An error names what the file is instead, in one line that reads well behind the
// file's name. That Identify knows a file's kind does not mean that Load takes it: the
// header may be damaged, and an ELF file may lack the entry note.
func Identify(head []byte) (Kind, error) {
	head = head[:min(len(head), HeadSize)]
	if len(head) == 0 {
		return 0, errors.New("empty file")
	}
	if has(head, 0, elfMagic) {
		if err := checkELFHeader(head); err != nil {
			return 0, err
		}
		return Vmlinux, nil
	}
	if has(head, offHeader, hdrMagic) && le16(head, offBootFlag) == bootFlag {
		return BzImage, nil
	}
	if name, ok := imageFor(head); ok {
		return 0, fmt.Errorf("%s, not an x86-64 kernel", name)
	}
	if has(head, 0, gzipMagic) {
		return 0, gzipError(head)
	}
	for _, k := range notKernels {
		if has(head, 0, k.magic) {
			return 0, errors.New(k.name)
		}
	}
	if len(head) >= offJump && le16(head, offBootFlag) == bootFlag {
		return 0, errors.New("boot sector without a Linux setup header: a disk image, or a kernel before Linux 1.3.73")
	}
	if isText(head) {
		return 0, errors.New("text file, not a kernel")
	}
	return 0, fmt.Errorf("neither bzImage nor ELF vmlinux (starts with % x)", head[:min(len(head), 8)])
}

// imageFor names kernels for other machines and EFI programs.
func imageFor(head []byte) (string, bool) {
	switch {
	case has(head, imageMagicOff, arm64Magic):
		return "arm64 Image", true
	case has(head, imageMagicOff, riscvMagic):
		return "RISC-V Image", true
	case has(head, 0, mzMagic) && has(head, zbootMagicOff, zbootMagic):
		return "EFI zboot image", true
	case has(head, 0, mzMagic):
		return "EFI or DOS program", true
	}
	return "", false
}

// gzipError looks a few bytes into a gzip file, as arm64 kernels come as Image.gz.
func gzipError(head []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(head))
	if err == nil {
		inner := make([]byte, imageMagicOff+len(arm64Magic))
		n, _ := io.ReadFull(r, inner) // what there is will do
		if name, ok := imageFor(inner[:n]); ok {
			return fmt.Errorf("gzip-compressed %s, not an x86-64 kernel", name)
		}
	}
	return errors.New("gzip-compressed file; unpack it first, if it is a kernel")
}

func has(b []byte, off int, magic string) bool {
	return len(b) >= off+len(magic) && string(b[off:off+len(magic)]) == magic
}

// isText reports whether b is UTF-8 without control characters; its end may be in
// the middle of a character.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' && r != '\x1b' {
			return false
		}
		b = b[n:]
	}
	return true
}
