// Package rootfs makes an initramfs of a root file system that lies in a directory or in a tar archive, plain or
// compressed by gzip, zstd or xz. The guest then has it as its root, and no file system of the host is shared with it. It
// needs no privileges.
//
// # What becomes of the files
//
// Names, types, permissions with setuid, setgid and sticky, owners, the targets of symbolic links, and hard links become
// those of the archive. Times are zero. Extended attributes, and with them ACLs and file capabilities, have no place in
// cpio and are lost. The root directory itself is the guest kernel's, mode 0755 and root's.
//
// Device nodes and sockets are left out and counted: a guest makes those that it needs (devtmpfs). Named pipes stay.
// Files have at most 4 GiB - 1 byte, names and targets at most 4095; more is an error.
//
// # Tar archives
//
// Nothing of an archive is believed. An absolute name, one with "..", or one that leads through a symbolic link or anything
// else that is no directory is an error. So is a hard link to what the archive did not have before. Targets of
// symbolic links are not looked at: they are resolved in the guest only.
//
// An archive may have a name several times, and the later entry counts, as it does for tar: directories that are there
// twice are one, with the later mode; anything else is replaced, but a directory only while it is empty. Since that is known
// at the end only, an archive is read twice: first all headers, of which a tree is made, then the data of the files
// that stayed. White-outs of container images mean nothing here.
//
// The output has directories, symbolic links and pipes first, ordered by name, and then the files in the order of the tar.
//
// # Directories
//
// A directory is read by openat(2) and never through a symbolic link, not even when it is changed meanwhile, so that
// nothing from outside of it comes in. Other file systems that are mounted below are part of it. What cannot be read is an
// error. A file that is changed while it is read may have old and new data; one that is cut short is an error.
//
// The output is ordered by name, each directory before what it holds.
package rootfs
