// Package resolvconf reads the host's name servers as resolv.conf(5) names them.
package resolvconf

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// Path is where the file is.
	Path = "/etc/resolv.conf"

	maxServers = 3        // as many as the C library asks
	maxFile    = 64 << 10 // bytes of the file that are read
)

// Servers returns the first three name servers of a file, in its order, and none if it cannot be read, with the reason.
func Servers(path string) ([]netip.Addr, error) {
	// What is there may be a pipe.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := make([]byte, maxFile)
	n, err := f.Read(p)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return parse(p[:max(n, 0)]), err
}

func parse(p []byte) (list []netip.Addr) {
	for line := range bytes.Lines(p) {
		words := strings.Fields(string(line))
		if len(words) < 2 || words[0] != "nameserver" || len(list) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, a.Unmap())
		}
	}
	return list
}
