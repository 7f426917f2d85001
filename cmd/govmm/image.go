package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// image is a kernel or initrd mapped from its file: nothing is read that the loader
// does not look at, and nothing of it lands in the heap.
type image struct {
	data []byte
	file *os.File
}

// openImage maps the file. what names it in errors.
func openImage(what, path string) (*image, error) {
	// O_NONBLOCK, which means nothing for files, keeps the open of a FIFO from waiting
	// for somebody at its other end.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return mapImage(what, f)
}

// mapImage maps a file that is open, and closes it with the image or with an error.
func mapImage(what string, f *os.File) (_ *image, err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	path := f.Name()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("%s: %s is a directory, give the file itself", what, path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %s is not a regular file", what, path)
	case info.Size() == 0:
		return nil, fmt.Errorf("%s: %s is empty", what, path)
	case info.Size() > maxImage:
		return nil, fmt.Errorf("%s: %s has %d bytes, more than any guest's memory", what, path, info.Size())
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot map %s: %w", what, path, err)
	}
	return &image{b, f}, nil
}

const maxImage = 1 << 40

// close gives the mapping and the file back; what a guest has mapped of it stays.
func (i *image) close() {
	_ = unix.Munmap(i.data)
	_ = i.file.Close()
}
