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

	// slowInMemory is the same for a file in memory, whose pages the host can only have swapped. Less than that is a
	// turn of another thread's.
	slowInMemory = 20 * time.Millisecond
)

// began is what tries are timed from: time.Since reads the clock once, time.Now twice (package wait).
var began = time.Now()

// A nowait is what was found out about trying in one direction. Whether RWF_NOWAIT works is up to the file system:
// ext4 has it for reads, XFS and Btrfs for both; files in memory are not asked, for which there is writeInMemory. Where it is missing, a try is a call without it, which
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
	if !f.memory && !w.missing.Load() {
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
	start := time.Since(began)
	n, err := f.attempt(d, segments, off)
	slow := slowTry + time.Duration(n)*slowByte
	if f.memory {
		slow = slowInMemory
	}
	if time.Since(began)-start > slow {
		w.distrust.Store(distrustFor)
	}
	return n, err
}

// maxTry is Info.MaxTry. Copying more takes so long that others had better copy theirs meanwhile. On one processor they would only take turns;
// but where the host may have to wait after a part of it, the whole is copied again.
func (f *File) maxTry(processors int) int {
	if f.memory && processors == 1 {
		return 2 << 20
	}
	return defaultMaxTry
}

// attempt transfers without asking the host not to wait.
func (f *File) attempt(d direction, segments [][]byte, off int64) (int, error) {
	switch {
	case !f.memory:
		return f.transfer(d, segments, off, patient)
	case d == write:
		return f.writeInMemory(segments, off)
	}
	return f.transfer(d, segments, off, inMemory)
}

// writeInMemory keeps the P, as reads of a file in memory do: a plain system call lends it to others, for which the runtime
// wakes a thread every 20 us and afterwards one more, a tenth of the time that it takes to copy 1 MiB. What keeps the P
// must not wait, as the garbage collector would wait for it. But writers of one file wait for each other, and for those who
// punch holes in it, in the kernel. So those who may take long hold File.long.
func (f *File) writeInMemory(segments [][]byte, off int64) (int, error) {
	if !f.long.TryRLock() {
		return 0, ErrWouldWait
	}
	defer f.long.RUnlock()
	return f.transfer(write, segments, off, inMemory)
}

// keptInMemory reports whether fd is a file of a file system that has no disk behind it. An error means no.
func keptInMemory(fd int) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return false
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC
}
