package blk

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// slowTry, and slowByte for each byte, is how long a system call may take before the host is taken to have waited in it,
	// and distrustFor how many are then not tried.
	slowTry     = 100 * time.Microsecond
	slowByte    = time.Nanosecond
	distrustFor = 256
)

// A nowait is what was found out about trying in one direction. Whether RWF_NOWAIT works is up to the file system:
// ext4 has it for reads, XFS and Btrfs for both, tmpfs for neither. Where it is missing, a try is a call without it, which
// as a rule is as quick, for it reads or fills the page cache. After one that was not, as when the host makes writers wait for the
// disk or has to swap, there is no trying for a while.
type nowait struct {
	missing  atomic.Bool
	distrust atomic.Int64 // tries to omit
}

// TryReadVec implements Trier. With direct I/O there is nothing that need not be waited for.
func (f *File) TryReadVec(segments [][]byte, off int64) (int, error) {
	n, err := f.try(read, &f.readNowait, segments, off)
	if err != nil && err != ErrWouldWait {
		err = f.opError("preadv2", err)
	}
	return n, err
}

// TryWriteVec implements Trier.
func (f *File) TryWriteVec(segments [][]byte, off int64) (int, error) {
	n, err := f.try(write, &f.writeNowait, segments, off)
	if err != nil && err != ErrWouldWait {
		err = f.opError("pwritev2", err)
	}
	return n, err
}

func (f *File) try(d direction, w *nowait, segments [][]byte, off int64) (int, error) {
	if f.direct {
		return 0, ErrWouldWait
	}
	if !w.missing.Load() {
		n, err := f.transfer(d, segments, off, impatient)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return n, ErrWouldWait
		case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS):
			return n, err
		}
		w.missing.Store(true)
	}
	if w.distrust.Load() > 0 && w.distrust.Add(-1) >= 0 {
		return 0, ErrWouldWait
	}
	m := patient
	if f.memory {
		m = inMemory
	}
	start := time.Now()
	n, err := f.transfer(d, segments, off, m)
	if time.Since(start) > slowTry+time.Duration(n)*slowByte {
		w.distrust.Store(distrustFor)
	}
	return n, err
}

// keptInMemory reports whether fd is a file of a file system that has no disk behind it. An error means no.
func keptInMemory(fd int) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return false
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC
}
