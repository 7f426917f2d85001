package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// settleQEMU brings all files that QEMU opens into memory: its program, libraries and firmware.
func settleQEMU(qemu string, nested bool) {
	// What the loader looks for, by the names under which it does; ldd prints "name => path (address)".
	paths := regexp.MustCompile(`/\S+`).FindAllString(output("ldd", qemu), -1)
	paths = append(paths, qemu, "/etc/ld.so.cache")
	for dir := range strings.Lines(output(qemu, "-L", "help")) {
		if firmware, err := filepath.Glob(filepath.Join(strings.TrimSpace(dir), "*.bin")); err == nil {
			paths = append(paths, firmware...)
		}
	}
	for _, p := range paths {
		settle(p, nested)
	}
}

// settle brings a file into the page cache. In the test host that is not enough, because each time that
// a file or a link is opened its kernel asks the host, and the clock leaps while all wait: there the root is an overlay of
// memory over the host's files, and what one changes, if only its time, is copied to that layer.
// Whatever does not work makes the figures less steady, not wrong.
func settle(path string, nested bool) {
	if nested {
		copyUp(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = io.Copy(io.Discard, f)
}

// copyUp sets the time of a file, and of each link on the way to it, to what it is.
func copyUp(path string) {
	const links = 40 // as many as the kernel follows
	for range links {
		at, rest := string(filepath.Separator), strings.Split(path, string(filepath.Separator))
		var link string
		for i, name := range rest {
			at = filepath.Join(at, name)
			if target, err := os.Readlink(at); err == nil {
				if !filepath.IsAbs(target) {
					target = filepath.Join(filepath.Dir(at), target)
				}
				link = filepath.Join(append([]string{target}, rest[i+1:]...)...)
				break
			}
		}
		var st unix.Stat_t
		if unix.Lstat(at, &st) != nil {
			return
		}
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
		if link == "" {
			return
		}
		path = link
	}
}
