// Package initramfs writes and reads the archives that Linux unpacks into its first root file system.
//
// The format is cpio's "newc" as the kernel documents it in
// Documentation/driver-api/early-userspace/buffer-format.rst: a sequence of entries, each a header of 110 ASCII
// characters, a name and the data, with padding to four bytes, ended by an entry named TRAILER!!!. A [Writer] makes
// archives whose bytes depend on nothing but the calls made: inode numbers count up from one, times are zero, and so are
// owner and group unless they are set.
//
// A [Reader] expects nothing of its input. Names, link targets and numbers are checked, the memory it takes does
// not depend on the sizes that an archive claims, and a broken archive is an error of type [*FormatError].
//
// Left out are the variant with checksums (magic 070702), the older cpio formats, extended attributes, and
// the compression around an archive, which is the caller's. What follows the trailer is not read: the kernel would
// go on to a further archive there, which a second Reader can do.
//
// The command mkinitramfs below this directory builds the u-root userland that the tests and the demonstration
// boot; the programs that run in the guest have a module of their own in the directory uroot.
package initramfs

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// The header is a magic number of six characters and thirteen fields of eight hexadecimal digits
// (buffer-format.rst, "The structure of the cpio_header").
const (
	magic      = "070701"
	fieldCount = 13
	fieldSize  = 8
	headerSize = len(magic) + fieldCount*fieldSize

	alignment = 4
	trailer   = "TRAILER!!!"
)

// The fields in the order in which they follow the magic number.
const (
	fieldInode = iota
	fieldMode
	fieldUID
	fieldGID
	fieldLinks
	fieldMtime
	fieldFileSize
	fieldMajor
	fieldMinor
	fieldRMajor
	fieldRMinor
	fieldNameSize
	fieldCheck
)

// pathMax is the kernel's PATH_MAX, terminating zero included. init/initramfs.c skips entries whose name or
// link target is longer.
const pathMax = 4096

// maxFile is the largest size that a header can tell, in bytes.
const maxFile = 1<<32 - 1

// The file type and permission bits of c_mode; they are those of stat(2), see inode(7).
const (
	modeTypeMask = 0o170000
	modeSocket   = 0o140000
	modeSymlink  = 0o120000
	modeRegular  = 0o100000
	modeBlock    = 0o060000
	modeDir      = 0o040000
	modeChar     = 0o020000
	modeFIFO     = 0o010000

	modeSetuid = 0o4000
	modeSetgid = 0o2000
	modeSticky = 0o1000
)

var fileTypes = []struct {
	bits uint32
	mode fs.FileMode
}{
	{modeRegular, 0},
	{modeDir, fs.ModeDir},
	{modeSymlink, fs.ModeSymlink},
	{modeBlock, fs.ModeDevice},
	{modeChar, fs.ModeDevice | fs.ModeCharDevice},
	{modeFIFO, fs.ModeNamedPipe},
	{modeSocket, fs.ModeSocket},
}

// unixMode gives the c_mode of mode. It reports false for a file type that an archive cannot hold.
func unixMode(mode fs.FileMode) (uint32, bool) {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= modeSetuid
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= modeSetgid
	}
	if mode&fs.ModeSticky != 0 {
		bits |= modeSticky
	}
	for _, t := range fileTypes {
		if t.mode == mode.Type() {
			return bits | t.bits, true
		}
	}
	return 0, false
}

// goMode is the reverse of unixMode. It reports false for an unknown file type.
func goMode(bits uint32) (fs.FileMode, bool) {
	mode := fs.FileMode(bits) & fs.ModePerm
	if bits&modeSetuid != 0 {
		mode |= fs.ModeSetuid
	}
	if bits&modeSetgid != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&modeSticky != 0 {
		mode |= fs.ModeSticky
	}
	for _, t := range fileTypes {
		if t.bits == bits&modeTypeMask {
			return mode | t.mode, bits <= 0xffff
		}
	}
	return 0, false
}

// cleanName gives the name relative to the root of the archive that the kernel, which unpacks in /, would make of
// name. The root itself is ".".
func cleanName(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}

// padding gives the number of zeros that follow n bytes.
func padding(n int64) int64 { return -n & (alignment - 1) }

// A FormatError tells where and why a Reader does not accept its input.
type FormatError struct {
	Offset int64  // of the entry's header, counted from where the Reader began
	Name   string // of the entry, if it was read
	Reason string
}

func (e *FormatError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("initramfs: entry at offset %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("initramfs: entry %q at offset %d: %s", e.Name, e.Offset, e.Reason)
}
