package kernelcache

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// banner is how a kernel's linux_banner begins (init/version-timestamp.c).
const banner = "Linux version "

// Version returns what the kernel in the entry calls itself, such as 6.12.117+deb12-cloud-amd64; nothing if it does not
// say. It reads the entry until it finds that.
func (i Info) Version() (string, error) {
	f, err := os.OpenFile(i.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > maxEntry {
		return "", fmt.Errorf("%s: not an entry", i.Path)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return "", os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(b)
	return versionIn(b), nil
}

// versionIn returns the first word after a banner. Format strings have one with a
// percent sign there.
func versionIn(b []byte) string {
	const longest = 64 // __NEW_UTS_LEN
	for {
		at := bytes.Index(b, []byte(banner))
		if at < 0 {
			return ""
		}
		b = b[at+len(banner):]
		word := b[:min(len(b), longest)]
		n := 0
		for n < len(word) && word[n] > ' ' && word[n] <= '~' && word[n] != '%' {
			n++
		}
		if n > 0 && n < len(word) && word[n] == ' ' {
			return string(word[:n])
		}
	}
}
