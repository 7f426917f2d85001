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
	made, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := fill(ctx, made, program, data); err != nil {
		return "", err
	}
	return dir, replace(made, dir, data)
}

// replace puts what was made where it belongs. If another process has done so, that one's is as good.
func replace(made, dir string, data []byte) error {
	if _, err := os.Stat(dir); err == nil && !complete(dir, data) {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.Rename(made, dir); err != nil && !complete(dir, data) {
		return err
	}
	return nil
}

// findBusybox finds one that needs no libraries.
func findBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", errors.New("no busybox for a root file system: apt-get install busybox-static, or give --rootfs DIR|TAR")
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s needs libraries: apt-get install busybox-static, or give --rootfs DIR|TAR", path)
		}
	}
	return path, nil
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
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
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
