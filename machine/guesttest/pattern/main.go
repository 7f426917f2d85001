// Command pattern writes numbered blocks to disks, makes each stable, and then says so, until it is stopped:
//
//	pattern FIRST BLOCKS DISK...
//
// A DISK is written as it is; one that is written ext4=DISK has a file system, which is mounted, and in it the file "pattern". Block n, of
// 4096 bytes, which counts from FIRST, goes to place n modulo BLOCKS of each, so it replaces block n-BLOCKS. It begins with the words
//
//	govmm pattern N
//
// and a line end; each byte behind that is the low byte of its own place in the block, plus N. When it is on stable storage, by fdatasync for
// even numbers and by a write that is stable itself (RWF_DSYNC) for odd ones, a line on standard output says
//
//	stable N DISK
//
// Who takes the machine's power away finds every block of which that was said, or one with a higher number at the same
// place. A line "failed N DISK: " tells of an error; the block is then tried once more.
//
// It is the whole userland of guests in tests of what a monitor does to their disks: the kernel gives its first process the words behind
// " -- " on the command line. Stock userlands take many times as long to start.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 4096
	mounted   = "ext4=" // before a disk with a file system
)

func main() {
	if os.Getpid() == 1 {
		if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
			fail(err)
		}
	}
	first, blocks, disks, err := parse(os.Args[1:])
	if err != nil {
		fail(err)
	}
	var files []*file
	for _, disk := range disks {
		f, err := open(disk)
		if err != nil {
			fail(err)
		}
		files = append(files, f)
	}
	for n := first; ; n++ {
		for _, f := range files {
			f.report(os.Stdout, n, blocks)
		}
	}
}

// fail ends the program. A kernel whose first process ends says so and ends too.
func fail(err error) {
	fmt.Println("pattern:", err)
	os.Exit(1)
}

func parse(args []string) (first, blocks int64, disks []string, err error) {
	if len(args) < 3 {
		return 0, 0, nil, errors.New("usage: pattern FIRST BLOCKS DISK...")
	}
	first, err1 := strconv.ParseInt(args[0], 10, 48)
	blocks, err2 := strconv.ParseInt(args[1], 10, 32)
	if err1 != nil || err2 != nil || first < 0 || blocks < 1 {
		return 0, 0, nil, fmt.Errorf("%q and %q are no numbers of blocks", args[0], args[1])
	}
	return first, blocks, args[2:], nil
}

// A file is what the blocks of a disk go to.
type file struct {
	*os.File
	disk string
}

// open opens a disk, or the file on it.
func open(disk string) (*file, error) {
	path, isMounted := strings.CutPrefix(disk, mounted)
	if isMounted {
		at := "/mnt" + path
		if err := os.MkdirAll(at, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(path, at, "ext4", 0, ""); err != nil {
			return nil, &os.PathError{Op: "mount", Path: path, Err: err}
		}
		path = at + "/pattern"
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	return &file{f, disk}, err
}

// report writes block n and says how that went.
func (f *file) report(out io.Writer, n, blocks int64) {
	err := f.write(n, blocks)
	if err != nil {
		fmt.Fprintf(out, "failed %d %s: %v\n", n, f.disk, err)
		err = f.write(n, blocks)
	}
	if err == nil {
		fmt.Fprintf(out, "stable %d %s\n", n, f.disk)
	}
}

// write returns when block n is stable.
func (f *file) write(n, blocks int64) error {
	p, at := block(n), n%blocks*blockSize
	if n%2 != 0 {
		done, err := unix.Pwritev2(int(f.Fd()), [][]byte{p}, at, unix.RWF_DSYNC)
		if err == nil && done < len(p) {
			err = io.ErrShortWrite
		}
		return err
	}
	if _, err := f.WriteAt(p, at); err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

// block returns the content of block n.
func block(n int64) []byte {
	p := make([]byte, blockSize)
	for i := copy(p, fmt.Sprintf("govmm pattern %d\n", n)); i < len(p); i++ {
		p[i] = byte(i) + byte(n)
	}
	return p
}
