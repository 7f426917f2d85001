package blk

import (
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A direction is the system call that transfers.
type direction uintptr

const (
	read  direction = unix.SYS_PREADV2
	write direction = unix.SYS_PWRITEV2
)

// A manner is how a transfer enters the kernel.
type manner int

const (
	patient   manner = iota // by a plain system call, which may wait
	impatient               // the same with RWF_NOWAIT
	inMemory                // by a raw call, see writeInMemory
)

// transfer does all of segments with preadv2 or pwritev2, however many calls
// that takes. It exists because the functions of package unix allocate the
// vector in each call.
func (f *File) transfer(d direction, segments [][]byte, off int64, m manner) (int, error) {
	vector := f.iovecs.Get().(*[maxIOV]unix.Iovec)
	defer f.iovecs.Put(vector)
	defer clear(vector[:min(len(segments), maxIOV)]) // the pool must not keep guest memory alive
	total := 0
	for len(segments) > 0 {
		k := 0
		for ; len(segments) > 0 && k < maxIOV; segments = segments[1:] {
			if s := segments[0]; len(s) > 0 {
				vector[k].Base = unsafe.SliceData(s)
				vector[k].SetLen(len(s))
				k++
			}
		}
		n, err := f.transferVector(d, vector[:k], off+int64(total), m)
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

// transferVector does all of vector, which it consumes.
func (f *File) transferVector(d direction, vector []unix.Iovec, off int64, m manner) (int, error) {
	total := 0
	for len(vector) > 0 {
		r, errno := f.call(d, vector, off, m)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return total, errno
		case r == 0 && d == read:
			return total, io.ErrUnexpectedEOF
		case r == 0:
			return total, io.ErrShortWrite
		}
		total, off = total+int(r), off+int64(r)
		vector = consume(vector, uint64(r))
	}
	return total, nil
}

// call is a function of its own so that there is a preemption point before each raw call, also where a signal has it made again.
//
//go:noinline
func (f *File) call(d direction, vector []unix.Iovec, off int64, m manner) (n uintptr, errno unix.Errno) {
	// The argument before the flags is the upper half of the offset on 32-bit hosts.
	if m == inMemory {
		n, _, errno = unix.RawSyscall6(uintptr(d), uintptr(f.fd), uintptr(unsafe.Pointer(unsafe.SliceData(vector))), uintptr(len(vector)), uintptr(off), 0, 0)
		return n, errno
	}
	var flags uintptr
	if m == impatient {
		flags = unix.RWF_NOWAIT
	}
	n, _, errno = unix.Syscall6(uintptr(d), uintptr(f.fd), uintptr(unsafe.Pointer(unsafe.SliceData(vector))), uintptr(len(vector)), uintptr(off), 0, flags)
	return n, errno
}

// consume returns vector without its first n bytes.
func consume(vector []unix.Iovec, n uint64) []unix.Iovec {
	for n > 0 && n >= vector[0].Len {
		n -= vector[0].Len
		vector = vector[1:]
	}
	if n > 0 {
		v := &vector[0]
		v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), n))
		v.Len -= n
	}
	return vector
}

// misaligned reports whether s begins at no multiple of align, a power of two.
func misaligned(s []byte, align int) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(s)))&uintptr(align-1) != 0
}

// discardBlocks tells a block device that a range is not needed. A hole in it, as fallocate makes one, would have to read as
// zeroes, which not every disk that can discard promises. What the disk cannot discard stays.
func (f *File) discardBlocks(off, n int64) error {
	bounds := [2]uint64{uint64(off), uint64(n)}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&bounds)))
		switch errno {
		case 0, unix.EOPNOTSUPP, unix.EINVAL:
			return nil
		case unix.EINTR:
		default:
			return f.opError("BLKDISCARD", errno)
		}
	}
}
