package blk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrInUse is what the error of OpenFile wraps if somebody else has the image
// open in a way that excludes this one.
var ErrInUse = errors.New("image is in use")

// maxIOV is the number of segments that one system call takes (UIO_MAXIOV).
const maxIOV = 1024

const pageSize = 4096

// A File is a Backend on a regular file or a block device of the host.
type File struct {
	fd       int
	path     string
	size     int64
	readOnly bool
	direct   bool
	device   bool         // a block device
	memory   bool         // a file that the host keeps in memory
	long     sync.RWMutex // in memory: held by what changes the file and may take long, shared by what must not
	block    int          // Info.BlockSize
	physical int          // Info.PhysicalBlockSize
	directIO
	iovecs sync.Pool // of *[maxIOV]unix.Iovec

	readNowait, writeNowait nowait
}

// OpenFile opens a raw disk image: a regular file or a block device, whose
// size must be a multiple of 512 bytes and not 0. Errors are one line that
// names the path and, where there is one, the remedy.
//
// A writable image is locked exclusively, a read-only one shared, until Close.
// The locks are those of open file descriptions (F_OFD_SETLK): they conflict
// with each other inside one process as well, are not lost when something
// else in the process closes the same file, as POSIX locks are, work over
// network file systems, and are the kind that QEMU's image locking sees, so an
// image cannot be written by both. They are advisory.
//
// Reads and writes go through the host's page cache; Sync makes what was written stable.
func OpenFile(path string, readOnly bool) (*File, error) {
	return openFile(path, readOnly, false)
}

// OpenDirect is OpenFile for I/O that goes past the host's page cache (O_DIRECT): the guest's own cache is then the only
// one. Segments and offsets that are not aligned as the host's disk needs it are served too, but by way of a buffer.
func OpenDirect(path string, readOnly bool) (*File, error) {
	return openFile(path, readOnly, true)
}

func openFile(path string, readOnly, direct bool) (*File, error) {
	mode := unix.O_RDWR
	if readOnly {
		mode = unix.O_RDONLY
	}
	if direct {
		mode |= unix.O_DIRECT
	}
	// O_NONBLOCK, which means nothing for files and disks, keeps the open of
	// a FIFO from waiting for somebody at its other end.
	fd, err := open(path, mode|unix.O_CLOEXEC|unix.O_NONBLOCK)
	if direct && errors.Is(err, unix.EINVAL) {
		err = errNoDirect
	}
	if err != nil {
		return nil, openError(path, readOnly, err)
	}
	f := &File{fd: fd, path: path, readOnly: readOnly, direct: direct}
	f.iovecs.New = func() any { return new([maxIOV]unix.Iovec) }
	if err := f.identify(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("disk image %s: %w", path, err)
	}
	if err := f.lock(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("disk image %s: %w", path, err)
	}
	return f, nil
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// openError says what can be done about err.
func openError(path string, readOnly bool, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.EISDIR):
		return fmt.Errorf("disk image %s: %w", path, errDirectory)
	case readOnly:
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS), errors.Is(err, unix.ETXTBSY):
		remedy = ` (to use it without writing to it, open it with ",ro")`
	}
	return fmt.Errorf("disk image %s: %w%s", path, err, remedy)
}

var errDirectory = errors.New("is a directory, not a regular file or block device")

// identify checks what was opened and sets its size.
func (f *File) identify() error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		// A guest had better write whole pages of the page cache.
		f.block, f.physical = sectorSize, pageSize
		f.memory = keptInMemory(f.fd)
	case unix.S_IFBLK:
		f.device = true
		if err := f.blockSizes(); err != nil {
			return err
		}
	case unix.S_IFDIR:
		return errDirectory
	default:
		return errors.New("is neither a regular file nor a block device")
	}
	// Unlike st_size this is right for block devices as well.
	size, err := unix.Seek(f.fd, 0, io.SeekEnd)
	if err != nil {
		return os.NewSyscallError("lseek", err)
	}
	if size == 0 {
		return errors.New("is empty (give it a size: truncate -s 1G)")
	}
	if size%sectorSize != 0 {
		return fmt.Errorf("size %d is not a multiple of %d (if it is a raw image: truncate -s %%%d)", size, sectorSize, sectorSize)
	}
	f.size = size
	if !f.direct {
		return nil
	}
	if err := f.findAlignment(); err != nil {
		return err
	}
	f.physical = max(f.block, f.align)
	return nil
}

// lock takes the lock that OpenFile promises.
func (f *File) lock() error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart} // Len 0: all of it
	if f.readOnly {
		l.Type = unix.F_RDLCK
	}
	err := unix.FcntlFlock(uintptr(f.fd), unix.F_OFD_SETLK, &l)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES):
		return fmt.Errorf("cannot be locked: %w", err)
	case f.readOnly:
		return fmt.Errorf("%w: another machine has it open for writing", ErrInUse)
	}
	return fmt.Errorf(`%w by another machine (to share it, open it everywhere with ",ro")`, ErrInUse)
}

// Close closes the file and so unlocks it. The Device that uses it must be
// stopped. A second Close returns os.ErrClosed.
func (f *File) Close() error {
	if f.fd < 0 {
		return os.ErrClosed
	}
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil {
		return &fs.PathError{Op: "close", Path: f.path, Err: err}
	}
	return nil
}

// Info implements Backend.
func (f *File) Info() Info {
	return Info{Size: f.size, ReadOnly: f.readOnly, BlockSize: f.block, PhysicalBlockSize: f.physical, MaxTry: f.maxTry(runtime.NumCPU())}
}

// ReadVec implements Backend. If the file became shorter than it was when it
// was opened, the error is io.ErrUnexpectedEOF.
func (f *File) ReadVec(segments [][]byte, off int64) (int, error) {
	var n int
	var err error
	if f.direct {
		n, err = f.readDirect(segments, off)
	} else {
		n, err = f.transfer(read, segments, off, patient)
	}
	if err != nil {
		err = f.opError("preadv2", err)
	}
	return n, err
}

// WriteVec implements Backend.
func (f *File) WriteVec(segments [][]byte, off int64) (int, error) {
	var n int
	var err error
	if f.direct {
		n, err = f.writeDirect(segments, off)
	} else {
		if f.memory {
			f.long.Lock()
			defer f.long.Unlock()
		}
		n, err = f.transfer(write, segments, off, patient)
	}
	if err != nil {
		err = f.opError("pwritev2", err)
	}
	return n, err
}

// Sync implements Backend, with fdatasync.
func (f *File) Sync() error {
	for {
		switch err := unix.Fdatasync(f.fd); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return f.opError("fdatasync", err)
		}
	}
}

func (f *File) opError(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}
