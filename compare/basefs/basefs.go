// Package basefs makes a small root file system of busybox.
package basefs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// listLimit is how long busybox may take to say what it can do.
const listLimit = 10 * time.Second

// Make gives a directory below cache that has busybox, with links for all that it can do. One that is there already is used again. Several processes may call
// it at once.
func Make(ctx context.Context, cache string) (string, error) {
	program, err := findBusybox()
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	dir := filepath.Join(cache, "busybox-"+hex.EncodeToString(sum[:8]))
	if complete(dir, data) {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(dir, data) { // another process was quicker
		return dir, nil
	}
	made := filepath.Join(cache, "new")
	if err := os.RemoveAll(made); err != nil { // of a process that was killed
		return "", err
	}
	defer os.RemoveAll(made)
	if err := fill(ctx, made, program, data); err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil { // a damaged one
		return "", err
	}
	return dir, os.Rename(made, dir)
}

// lock keeps other processes, and other calls, from making anything in the cache.
func lock(cache string) (unlock func(), err error) {
	f, err := os.Open(cache)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: cache, Err: err}
	}
	return func() { f.Close() }, nil
}

// usual is where Debian has busybox, also for those whose PATH does not lead there.
const usual = "/bin/busybox"

const remedy = "apt-get install busybox-static, or give --rootfs DIR|TAR"

// findBusybox finds one that needs no libraries.
func findBusybox() (string, error) {
	fault := errors.New("no busybox for a root file system: " + remedy)
	for _, name := range []string{"busybox", usual} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if err := static(path); err != nil {
			fault = fmt.Errorf("%s: %w: %s", path, err, remedy)
			continue
		}
		return path, nil
	}
	return "", fault
}

// static says what keeps a program from running without libraries.
func static(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("needs libraries")
		}
	}
	return nil
}

// complete says whether a directory is whole: the last thing that is made is there, and the program is what it was.
func complete(dir string, data []byte) bool {
	if _, err := os.Lstat(filepath.Join(dir, last)); err != nil {
		return false
	}
	got, err := os.ReadFile(filepath.Join(dir, "bin/busybox"))
	return err == nil && bytes.Equal(got, data)
}

// last is what is made last.
const last = "etc/group"

func fill(ctx context.Context, dir, program string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	list, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", program, err)
	}
	for _, name := range []string{".", "bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil { // whatever the umask
			return err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755); err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		if name != "busybox" && filepath.Base(name) == name {
			if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, last), []byte("root:x:0:\nnobody:x:65534:\n"), 0o644)
}
