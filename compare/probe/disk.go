package probe

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	diskBlock   = mib      // of sequential transfers, unless told otherwise
	randomBlock = 4 << 10  // of random reads
	maxBlock    = 64 * mib // of memory for one transfer
)

type diskOptions struct {
	path   string
	size   int64
	block  int
	random int
}

// disk writes a new file, or a block device that nobody uses, then reads it.
func disk(args []string, out io.Writer) error {
	o, err := parseDisk(args)
	if err != nil {
		return err
	}
	d, err := measureDisk(o)
	if err != nil {
		return err
	}
	return say(out, d)
}

func parseDisk(args []string) (diskOptions, error) {
	var o diskOptions
	err := parse(args, func(f *flag.FlagSet) {
		f.StringVar(&o.path, "path", "", "a file that is not there yet, or a block device, which is overwritten")
		f.Int64Var(&o.size, "size", 64*mib, "bytes")
		f.IntVar(&o.block, "block", diskBlock, "bytes at once")
		f.IntVar(&o.random, "random", 1000, "number of random reads of 4 KiB")
	})
	switch {
	case err != nil:
		return o, err
	case o.path == "":
		return o, errors.New("-path is needed")
	case o.block < randomBlock || o.block%randomBlock != 0 || o.block > maxBlock:
		return o, errors.New("-block: a multiple of 4096, at most 64 MiB")
	case o.size < int64(o.block) || o.size%int64(o.block) != 0:
		return o, errors.New("-size: a multiple of -block")
	case o.random < 0:
		return o, errors.New("-random: not negative")
	}
	return o, nil
}

func measureDisk(o diskOptions) (d Disk, err error) {
	f, isNew, direct, err := openDisk(o.path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	if isNew {
		defer os.Remove(o.path)
	}
	// O_DIRECT wants buffers at multiples of the device's block, which pages are.
	buf, err := unix.Mmap(-1, 0, o.block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return d, err
	}
	defer unix.Munmap(buf)
	d = Disk{Bytes: uint64(o.size), RandomReads: o.random, Direct: direct}
	err = errors.Join(
		timed(&d.WriteNS, func() error { return writeAll(f, buf, o.size) }),
		forget(f),
		timed(&d.ReadNS, func() error { return readAll(f, buf, o.size) }),
		forget(f),
		timed(&d.RandomNS, func() error { return readRandom(f, buf[:randomBlock], o.size, o.random) }))
	return d, err
}

func timed(ns *int64, do func() error) error {
	start := time.Now()
	err := do()
	*ns = time.Since(start).Nanoseconds()
	return err
}

// openDisk opens a block device that nobody has mounted, or makes a file. It never overwrites a file.
func openDisk(path string) (f *os.File, isNew, direct bool, err error) {
	flags := os.O_RDWR | os.O_EXCL
	if info, err := os.Stat(path); err != nil || info.Mode()&(os.ModeDevice|os.ModeCharDevice) != os.ModeDevice {
		flags |= os.O_CREATE
		isNew = true
	}
	f, err = os.OpenFile(path, flags|unix.O_DIRECT, 0o600)
	if err == nil {
		return f, isNew, true, nil
	}
	if !errors.Is(err, unix.EINVAL) {
		return nil, false, false, err
	}
	// The file system has made the file before it found that it cannot do O_DIRECT.
	if isNew {
		os.Remove(path)
	}
	f, err = os.OpenFile(path, flags, 0o600)
	return f, isNew, false, err
}

func writeAll(f *os.File, buf []byte, size int64) error {
	var r lcg
	for at := int64(0); at < size; at += int64(len(buf)) {
		// Not zeros, which some disks do not store.
		for i := 0; i < len(buf); i += 512 {
			buf[i] = byte(r.next())
		}
		if _, err := f.WriteAt(buf, at); err != nil {
			return err
		}
	}
	return f.Sync()
}

func readAll(f *os.File, buf []byte, size int64) error {
	for at := int64(0); at < size; at += int64(len(buf)) {
		if _, err := f.ReadAt(buf, at); err != nil {
			return err
		}
	}
	return nil
}

func readRandom(f *os.File, buf []byte, size int64, n int) error {
	var r lcg
	for range n {
		at := int64(r.next()%uint64(size/randomBlock)) * randomBlock
		if _, err := f.ReadAt(buf, at); err != nil {
			return fmt.Errorf("at %d: %w", at, err)
		}
	}
	return nil
}

// forget drops what the page cache has of the file, as far as the file system does that.
func forget(f *os.File) error {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}

// lcg gives the same numbers in each run, by Knuth's MMIX.
type lcg uint64

func (r *lcg) next() uint64 {
	*r = *r*6364136223846793005 + 1442695040888963407
	return uint64(*r) >> 20
}
