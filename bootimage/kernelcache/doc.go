// Package kernelcache keeps unpacked kernels in a directory, so that a kernel is unpacked once
// and not at each boot, and so that guests share its pages in the host's page cache.
//
// # What is in the directory
//
//	<hex of SHA-256>        the unpacked kernel of the file with that sum, and a trailer
//	known/<hex of an identity>   what a file was found to contain
//	*.tmp-<number>          being written
//
// An entry is the unpacked kernel as it is, so that it can be mapped and so that tools can read
// it; the trailer behind it says how long it is, which file it came from, and its CRC-32C.
//
// # Why nothing is read twice
//
// To hash a kernel of 12 MB and to check an entry of 60 MB takes longer than the rest of
// govmm's start. Both are done once for each state of the files: what was found is noted under the
// identity of the kernel's file, which is its device, inode, size and times of
// change. As nobody but the host's kernel sets a ctime, a file whose identity is the same has the
// same content. The note has the entry's identity too; any write to an entry changes it, and the entry
// is then checked whole. A file that has changed within the last seconds could change again under the
// same ctime, so for such a one nothing is noted.
//
// # Many processes
//
// Files appear under their names by rename(2), whole, and are never changed afterwards, only
// unlinked; whoever has one open or mapped keeps it. Two processes that unpack the same kernel at the same
// time both write it, and either's file is as good. A power failure can leave an entry that is not
// what was written; it is noted as good only after fsync(2), and checked whole before that.
//
// # Trust
//
// The directory is trusted as far as it is the user's own: one that others may write to is not used. Kernels
// are foreign, but each has an entry of its own, named by its content. What an entry contains is foreign input still
// to whoever gets it.
package kernelcache
