package probe

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is how long it took to write Bytes in pieces of 1 MiB until they were on the disk, to read them again, and to read Reads times 4 KiB at random; nanoseconds.
// Direct says whether the place's page cache was passed by.
type Disk struct {
	Bytes, Reads              int64
	WriteNS, ReadNS, RandomNS int64
	Direct                    bool
}

const (
	piece       = 1 << 20
	block       = 4096
	randomReads = 2000
)

func disk(args []string) error {
	f := flags("disk")
	path := f.String("path", "", "file or block device")
	size := f.Int64("size", 64<<20, "bytes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *size < piece {
		return errors.New("disk: a size of at least 1 MiB is needed")
	}
	d := Disk{Bytes: *size &^ (piece - 1), Reads: randomReads, Direct: true}
	file, err := os.OpenFile(*path, os.O_RDWR|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		d.Direct = false // a file system in memory
		file, err = os.OpenFile(*path, os.O_RDWR, 0)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	for _, step := range []struct {
		do func(*os.File, int64) error
		ns *int64
	}{{write, &d.WriteNS}, {readAll, &d.ReadNS}, {readRandom, &d.RandomNS}} {
		begun := time.Now()
		if err := step.do(file, d.Bytes); err != nil {
			return err
		}
		*step.ns = time.Since(begun).Nanoseconds()
	}
	return say(d)
}

func write(f *os.File, size int64) error {
	p, err := aligned(piece)
	if err != nil {
		return err
	}
	for at := int64(0); at < size; at += piece {
		if _, err := f.WriteAt(p, at); err != nil {
			return err
		}
	}
	return f.Sync()
}

func readAll(f *os.File, size int64) error {
	p, err := aligned(piece)
	if err != nil {
		return err
	}
	for at := int64(0); at < size; at += piece {
		if _, err := io.ReadFull(io.NewSectionReader(f, at, piece), p); err != nil {
			return err
		}
	}
	return nil
}

func readRandom(f *os.File, size int64) error {
	p, err := aligned(block)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2)) // the same places in each run
	for range randomReads {
		if _, err := f.ReadAt(p, r.Int64N(size/block)*block); err != nil {
			return err
		}
	}
	return nil
}

// aligned gives memory that begins with a page, as O_DIRECT wants it.
func aligned(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}
