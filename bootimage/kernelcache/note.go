package kernelcache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// identity tells one state of one file from every other.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds since 1970
}

var errNoFile = errors.New("no regular file")

func identityOf(f *os.File) (identity, error) {
	id, _, err := statFile(f)
	return id, err
}

// access is who may change a file.
type access struct{ uid, mode uint32 }

// others tells whether others than this process's user may.
func (a access) others() bool { return a.uid != uint32(os.Geteuid()) || a.mode&0o022 != 0 }

func statFile(f *os.File) (identity, access, error) {
	if f == nil {
		return identity{}, access{}, errNoFile
	}
	var st unix.Stat_t
	c, err := f.SyscallConn()
	if err != nil {
		return identity{}, access{}, err
	}
	var statErr error
	if err := c.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &st) }); err != nil {
		return identity{}, access{}, err
	}
	if statErr != nil {
		return identity{}, access{}, os.NewSyscallError("fstat", statErr)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return identity{}, access{}, errNoFile
	}
	return identity{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, access{st.Uid, st.Mode}, nil
}

// granularity is beyond what any file system's clock takes to tick.
const granularity = 2 * time.Second

func (d *Dir) granularity() time.Duration {
	if d.tick == 0 {
		return granularity
	}
	return d.tick
}

// settled reports whether a change of the file from now on will change its identity. A
// ctime in the future tells nothing.
func (id identity) settled(granularity time.Duration) bool {
	return id != identity{} && time.Since(time.Unix(0, max(id.ctime, id.mtime))) > granularity
}

// String has no secrets in it, and nothing that a file name must not have.
func (id identity) String() string {
	return fmt.Sprintf("%d %d %d %d %d", id.dev, id.ino, id.size, id.mtime, id.ctime)
}

// note is what a file was found to contain.
type note struct {
	key   key
	entry identity
}

// noteVersion changes when what is kept for a kernel changes.
const noteVersion = "govmm-note-1"

func (n note) String() string { return fmt.Sprintf("%s %v %v\n", noteVersion, n.key, n.entry) }

func parseNote(text string) (note, error) {
	var (
		n            note
		version, sum string
	)
	e := &n.entry
	if _, err := fmt.Sscanf(text, "%s %s %d %d %d %d %d\n", &version, &sum, &e.dev, &e.ino, &e.size, &e.mtime, &e.ctime); err != nil {
		return note{}, err
	}
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != len(n.key) || version != noteVersion {
		return note{}, errors.New("not a note")
	}
	n.key = key(b)
	return n, nil
}

func (d *Dir) notesPath() string { return filepath.Join(d.Path, "known") }

func (d *Dir) notePath(id identity) string {
	sum := sha256.Sum256([]byte(id.String()))
	return filepath.Join(d.notesPath(), hex.EncodeToString(sum[:16]))
}

// maxNote bounds what is read of a note.
const maxNote = 1024

func (d *Dir) readNote(id identity) (note, error) { return readNoteFile(d.notePath(id)) }

func readNoteFile(path string) (note, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return note{}, err
	}
	defer f.Close()
	b := make([]byte, maxNote)
	n, err := f.Read(b)
	if err != nil {
		return note{}, err
	}
	return parseNote(string(b[:n]))
}

func (d *Dir) writeNote(id identity, n note) error {
	return d.writeFile(d.notePath(id), []byte(n.String()))
}

// useGranularity is how exactly the last use of an entry is known: a boot should not write
// to the disk each time.
const useGranularity = time.Hour

// touch tells that the entry noted for a file is in use.
func (d *Dir) touch(id identity) {
	path, now := d.notePath(id), time.Now()
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > useGranularity {
		_ = os.Chtimes(path, now, now) // it would only be pruned earlier
	}
}
