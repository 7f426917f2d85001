package blk

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// A fault is what a faulty backend does in place of an operation.
type fault struct {
	err   error         // the operation's, after the part of it that moves
	moves int           // most bytes that are transferred with a fault
	delay time.Duration // before anything else; alone it is no fault
}

func (f *fault) spoils() bool { return f.err != nil || f.moves > 0 }

// A faulty is a file with the faults of a dying or full disk.
type faulty struct {
	*File
	plan func(op string) fault
}

func (f *faulty) ReadVec(segments [][]byte, off int64) (int, error) {
	return f.transfer("read", segments, off, f.File.ReadVec)
}

func (f *faulty) WriteVec(segments [][]byte, off int64) (int, error) {
	return f.transfer("write", segments, off, f.File.WriteVec)
}

func (f *faulty) TryReadVec(segments [][]byte, off int64) (int, error) {
	return f.transfer("try read", segments, off, f.File.TryReadVec)
}

func (f *faulty) TryWriteVec(segments [][]byte, off int64) (int, error) {
	return f.transfer("try write", segments, off, f.File.TryWriteVec)
}

func (f *faulty) transfer(op string, segments [][]byte, off int64, real func([][]byte, int64) (int, error)) (int, error) {
	p := f.plan(op)
	time.Sleep(p.delay)
	if !p.spoils() {
		return real(segments, off)
	}
	n, err := real(firstBytes(segments, p.moves), off)
	if err == nil {
		err = p.err
	}
	return n, err
}

func (f *faulty) Sync() error {
	p := f.plan("flush")
	time.Sleep(p.delay)
	if p.err != nil {
		return p.err
	}
	return f.File.Sync()
}

func (f *faulty) Zero(off, n int64, mode ZeroMode) error {
	p := f.plan("zero")
	time.Sleep(p.delay)
	if p.err != nil {
		return p.err
	}
	return f.File.Zero(off, n, mode)
}

// firstBytes returns a list of the first n bytes of segments.
func firstBytes(segments [][]byte, n int) (first [][]byte) {
	for _, s := range segments {
		k := min(n, len(s))
		first, n = append(first, s[:k]), n-k
	}
	return first
}

// A volatile is a disk with a cache that a power failure empties: what was written since the last Sync is lost, or
// not, sector by sector.
type volatile struct {
	mu      sync.Mutex
	stable  []byte
	pending []cached // in the order of the writes
}

// A cached is a sector that was written.
type cached struct {
	sector int64
	data   [sectorSize]byte
}

func (v *volatile) Info() Info { return Info{Size: int64(len(v.stable))} }

func (v *volatile) WriteVec(segments [][]byte, off int64) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := segmentList{segments: segments}
	n := totalLen(segments)
	for at := off; at < off+int64(n); at += sectorSize {
		c := cached{sector: at >> sectorShift}
		list.gather(c.data[:])
		v.pending = append(v.pending, c)
	}
	return n, nil
}

func (v *volatile) ReadVec([][]byte, int64) (int, error)   { return 0, io.ErrUnexpectedEOF }
func (v *volatile) Zero(off, n int64, mode ZeroMode) error { return nil }

func (v *volatile) Sync() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.pending {
		v.store(&v.pending[i])
	}
	v.pending = nil
	return nil
}

func (v *volatile) store(c *cached) { copy(v.stable[c.sector<<sectorShift:], c.data[:]) }

// cut takes the power away: any of the cached sectors may have reached the disk, in any order.
func (v *volatile) cut(r *rand.Rand) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range r.Perm(len(v.pending)) {
		if r.IntN(2) == 0 {
			v.store(&v.pending[i])
		}
	}
	v.pending = nil
	return v.stable
}
