// Command pattern writes numbered blocks to files or disks, makes each stable, and then says so, until it is stopped:
//
//	pattern FIRST BLOCKS FILE...
//
// Block n, of 4096 bytes, which counts from FIRST, goes to place n modulo BLOCKS of each file, so it replaces block n-BLOCKS. It begins with the words
//
//	govmm pattern N
//
// and a line end; each byte behind that is the low byte of its own place in the block, plus N. When it is on stable storage, by fdatasync for
// even numbers and by a write that is stable itself (RWF_DSYNC) for odd ones, a line on standard output says
//
//	stable N FILE
//
// Who takes the machine's power away finds in the file every block of which that was said, or one with a higher number at the same
// place. An error is told, and that block is tried once more.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const blockSize = 4096

func main() {
	if len(os.Args) < 4 {
		fail(errors.New("usage: pattern FIRST BLOCKS FILE..."))
	}
	first, err1 := strconv.ParseInt(os.Args[1], 10, 32)
	blocks, err2 := strconv.ParseInt(os.Args[2], 10, 32)
	if err1 != nil || err2 != nil || first < 0 || blocks < 1 {
		fail(fmt.Errorf("%q and %q are no numbers of blocks", os.Args[1], os.Args[2]))
	}
	var files []*os.File
	for _, name := range os.Args[3:] {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			fail(err)
		}
		files = append(files, f)
	}
	for n := first; ; n++ {
		for _, f := range files {
			report(os.Stdout, f, n, blocks)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "pattern:", err)
	os.Exit(1)
}

// report writes block n and says how that went.
func report(out io.Writer, f *os.File, n, blocks int64) {
	err := write(f, n, blocks)
	if err != nil {
		fmt.Fprintf(out, "failed %d %s: %v\n", n, f.Name(), err)
		err = write(f, n, blocks)
	}
	if err == nil {
		fmt.Fprintf(out, "stable %d %s\n", n, f.Name())
	}
}

// write returns when block n is stable.
func write(f *os.File, n, blocks int64) error {
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
