package blk

import "golang.org/x/sys/unix"

// Zero implements Backend, with fallocate, which block devices know too. Where the host cannot do
// what is needed, a discard does nothing and zeroes are written.
func (f *File) Zero(off, n int64, mode ZeroMode) error {
	if mode == Discard && f.device {
		return f.discardBlocks(off, n)
	}
	if mode != ZeroKeep {
		done, err := f.fallocate(unix.FALLOC_FL_PUNCH_HOLE, off, n)
		if done || err != nil || mode == Discard {
			return err
		}
	}
	done, err := f.fallocate(unix.FALLOC_FL_ZERO_RANGE, off, n)
	if done || err != nil {
		return err
	}
	return f.writeZeroes(off, n)
}

// fallocate reports whether it could do what was asked for. That it is not
// supported is no error.
func (f *File) fallocate(mode uint32, off, n int64) (bool, error) {
	f.partial.RLock()
	defer f.partial.RUnlock()
	if f.memory {
		f.long.Lock()
		defer f.long.Unlock()
	}
	for {
		err := unix.Fallocate(f.fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch err {
		case nil:
			return true, nil
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL:
			// EINVAL is how block devices answer if they need more alignment.
			return false, nil
		default:
			return false, f.opError("fallocate", err)
		}
	}
}

func (f *File) writeZeroes(off, n int64) error {
	const chunk = 64 << 10
	zeroes := make([]byte, min(n, chunk))
	for n > 0 {
		k := min(n, chunk)
		if _, err := f.WriteVec([][]byte{zeroes[:k]}, off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}
