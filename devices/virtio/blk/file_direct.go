package blk

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// bounceSize is the most that is read or written at once by way of a buffer. A request has one buffer at a time, so
// Config.Workers of them is the most memory that they take.
const bounceSize = 256 << 10

// defaultAlign is what is asked of memory and offsets where the host does not say what direct I/O needs.
const defaultAlign = 4096

// A directIO is what a File needs for I/O past the page cache (O_DIRECT).
type directIO struct {
	memAlign int // of the address of each segment
	align    int // of offsets and lengths; 0 without direct I/O
	buffers  sync.Pool

	// partial is held by a write of a part of a block, which reads the rest of the block and writes
	// it back, and shared by all others that change the file.
	partial sync.RWMutex
}

// findAlignment asks the host what direct I/O on the file needs.
func (f *File) findAlignment() error {
	f.memAlign, f.align = defaultAlign, defaultAlign
	var st unix.Statx_t
	err := unix.Statx(f.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	switch {
	case err == nil && st.Mask&unix.STATX_DIOALIGN != 0:
		if st.Dio_offset_align == 0 || st.Dio_mem_align == 0 {
			return errNoDirect
		}
		f.memAlign, f.align = int(st.Dio_mem_align), int(st.Dio_offset_align)
	case f.device:
		f.memAlign, f.align = max(f.block, sectorSize), f.block
	}
	// The numbers are the kernel's, but bouncing divides memory by them.
	if m, a := f.memAlign, f.align; m&(m-1) != 0 || a&(a-1) != 0 || m > maxBlockSize || a > maxBlockSize {
		return fmt.Errorf("direct I/O would need alignments of %d and %d bytes", m, a)
	}
	f.align = max(f.align, sectorSize)
	f.buffers.New = func() any {
		whole := make([]byte, bounceSize+f.memAlign)
		for misaligned(whole, f.memAlign) {
			whole = whole[1:]
		}
		p := whole[:bounceSize]
		return &p
	}
	return f.checkDirectSize()
}

func (f *File) checkDirectSize() error {
	if f.size%int64(f.align) == 0 {
		return nil
	}
	return fmt.Errorf("size %d is not a multiple of the %d bytes that direct I/O needs here (leave out cache=none, or: truncate -s %%%d)", f.size, f.align, f.align)
}

var errNoDirect = errors.New("its file system cannot do direct I/O (leave out cache=none)")

// aligned reports whether the transfer can be done as it is.
func (f *File) aligned(segments [][]byte, off int64) bool {
	if off%int64(f.align) != 0 {
		return false
	}
	for _, s := range segments {
		if len(s) > 0 && (len(s)%f.align != 0 || misaligned(s, f.memAlign)) {
			return false
		}
	}
	return true
}

func (f *File) readDirect(segments [][]byte, off int64) (int, error) {
	if f.aligned(segments, off) {
		return f.transfer(read, segments, off, patient)
	}
	return f.bounce(segments, off, func(buffer, part []byte, at int64, rest *segmentList) (int, error) {
		if _, err := f.transfer(read, [][]byte{buffer}, at, patient); err != nil {
			return 0, err
		}
		return rest.scatter(part), nil
	})
}

func (f *File) writeDirect(segments [][]byte, off int64) (int, error) {
	total := totalLen(segments)
	if (off|int64(total))%int64(f.align) == 0 {
		f.partial.RLock()
		defer f.partial.RUnlock()
		if f.aligned(segments, off) {
			return f.transfer(write, segments, off, patient)
		}
	} else {
		f.partial.Lock()
		defer f.partial.Unlock()
	}
	return f.bounce(segments, off, func(buffer, part []byte, at int64, rest *segmentList) (int, error) {
		if len(part) < len(buffer) {
			if _, err := f.transfer(read, [][]byte{buffer}, at, patient); err != nil {
				return 0, err
			}
		}
		n := rest.gather(part)
		_, err := f.transfer(write, [][]byte{buffer}, at, patient)
		if err != nil {
			n = 0
		}
		return n, err
	})
}

// bounce calls step for each piece of whole blocks that the transfer touches: buffer has the size of the piece, which lies at
// offset at of the file, and part is what of it belongs to the transfer. It returns the sum of what step returns.
func (f *File) bounce(segments [][]byte, off int64, step func(buffer, part []byte, at int64, rest *segmentList) (int, error)) (int, error) {
	whole := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(whole)
	rest := segmentList{segments: segments}
	total := 0
	for left := totalLen(segments); left > 0; {
		lead := int(off % int64(f.align))
		n := min(left, bounceSize-lead)
		buffer := (*whole)[:(lead+n+f.align-1)&^(f.align-1)]
		done, err := step(buffer, buffer[lead:lead+n], off-int64(lead), &rest)
		if total += done; err != nil {
			return total, err
		}
		off, left = off+int64(n), left-n
	}
	return total, nil
}

// A segmentList is segments, the first of them without its first skip bytes.
type segmentList struct {
	segments [][]byte
	skip     int
}

// scatter copies p to the segments and gather fills p from them. What was copied is consumed.
func (l *segmentList) scatter(p []byte) int { return l.copy(p, false) }
func (l *segmentList) gather(p []byte) int  { return l.copy(p, true) }

func (l *segmentList) copy(p []byte, gather bool) (n int) {
	for n < len(p) && len(l.segments) > 0 {
		s, k := l.segments[0][l.skip:], 0
		if gather {
			k = copy(p[n:], s)
		} else {
			k = copy(s, p[n:])
		}
		n += k
		if l.skip += k; k == len(s) {
			l.segments, l.skip = l.segments[1:], 0
		}
	}
	return n
}

func totalLen(segments [][]byte) (n int) {
	for _, s := range segments {
		n += len(s)
	}
	return n
}

// blockSizes finds out in which units a block device works.
func (f *File) blockSizes() error {
	var err error
	if f.block, err = unix.IoctlGetInt(f.fd, unix.BLKSSZGET); err != nil {
		return os.NewSyscallError("BLKSSZGET", err)
	}
	if f.physical, err = unix.IoctlGetInt(f.fd, unix.BLKPBSZGET); err != nil {
		return os.NewSyscallError("BLKPBSZGET", err)
	}
	// Odd ones are left for the host to deal with, which can.
	if f.block < sectorSize || f.block > maxBlockSize || f.block&(f.block-1) != 0 {
		f.block = sectorSize
	}
	if f.physical < f.block || f.physical > maxBlockSize || f.physical&(f.physical-1) != 0 {
		f.physical = f.block
	}
	return nil
}
