package main

import (
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stage is a directory in memory with everything that is measured. Where the clock counts instructions
// it leaps while all wait for a file of the host's, and elsewhere disks are slow now and then.
type stage struct{ dir string }

func newStage() (*stage, error) {
	parent := "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(parent, &fs); err != nil || fs.Flags&unix.ST_NOEXEC != 0 {
		parent = "" // as in containers, which have hardware virtualization if they are here at all
	}
	dir, err := os.MkdirTemp(parent, "govmm-bench-")
	if err != nil {
		return nil, err
	}
	return &stage{dir}, nil
}

func (s *stage) remove() { os.RemoveAll(s.dir) }

// path is that of a file of the given name.
func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// copy brings a file in, under the given name.
func (s *stage) copy(from, name string) (string, error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", err
	}
	to := s.path(name)
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return "", err
	}
	return to, out.Close()
}
