package rootfs

import (
	"errors"
	"fmt"
)

const (
	// maxFile is the largest size that cpio can tell, in bytes.
	maxFile = 1<<32 - 1

	// maxName is the length of the longest name, and link target, that the guest's kernel reads: PATH_MAX without the zero.
	maxName = 4095

	// nameBytes is what an entry's names may have on the average; some are longer. Names are kept in memory while a tar is read.
	nameBytes = 256

	// streamBytes is what a tar may have for an entry on the average, data apart: headers, attributes and padding.
	streamBytes = 4096

	// slack keeps the limits that are in proportion to the entries from being too narrow where few are allowed.
	slack = 1 << 20
)

// A budget is how much is allowed still.
type budget struct {
	o       Options
	entries int
	data    int64
	names   int64
}

func newBudget(o Options) *budget {
	o = o.limits()
	return &budget{
		o:       o,
		entries: o.MaxEntries,
		data:    o.MaxBytes,
		names:   int64(o.MaxEntries)*nameBytes + slack,
	}
}

// limits fills in the defaults. The results are small enough to be added up.
func (o Options) limits() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	o.MaxBytes = min(o.MaxBytes, 1<<60)
	o.MaxEntries = min(o.MaxEntries, 1<<31-1)
	return o
}

// stream is how many bytes a tar may unpack to. Without it, headers that lead to nothing could go on for ever.
func (o Options) stream() int64 {
	return o.MaxBytes + int64(o.MaxEntries)*streamBytes + slack
}

// entry takes one entry whose names have n bytes.
func (b *budget) entry(n int) error {
	if b.entries--; b.entries < 0 {
		return fmt.Errorf("more than %d entries", b.o.MaxEntries)
	}
	return b.name(n)
}

// name takes n bytes of names.
func (b *budget) name(n int) error {
	if b.names -= int64(n); b.names < 0 {
		return fmt.Errorf("more than %d bytes of names", int64(b.o.MaxEntries)*nameBytes+slack)
	}
	return nil
}

// file takes the data of one file.
func (b *budget) file(size int64) error {
	if size < 0 || size > maxFile {
		return errors.New("larger than 4 GiB - 1 byte")
	}
	if size > b.data {
		return fmt.Errorf("its files have more than %d bytes", b.o.MaxBytes)
	}
	b.data -= size
	return nil
}
