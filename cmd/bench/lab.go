package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// A lab is what the guests of the parts about devices find on the host.
type lab struct {
	*bench
	initrd string
	image  string // of a disk
	tap    string // why there is none, or empty
	server *exec.Cmd
}

// Sizes and addresses of the lab.
const (
	imageSize = 256 << 20
	tapName   = "govmm-bench0"
	tapHost   = "192.0.2.1" // RFC 5737
	tapGuest  = "192.0.2.2/24"
	userHost  = "10.0.2.2"
	userGuest = "10.0.2.15/24"
)

// newLab stages files, makes the tap and starts the server of iperf3.
func (b *bench) newLab() (*lab, error) {
	l := &lab{bench: b}
	var err error
	if l.initrd, err = b.files.copy(b.o.initrd, "devices.cpio"); err != nil {
		return nil, err
	}
	l.image = b.files.path("disk.img")
	// Written, so that no run is the first to take memory for it.
	if err := os.WriteFile(l.image, bytes.Repeat([]byte{0xa5}, imageSize), 0o644); err != nil {
		return nil, err
	}
	if err := makeTap(tapName, tapHost); err != nil {
		l.tap = err.Error()
	}
	l.server = exec.Command("iperf3", "-s")
	if err := l.server.Start(); err != nil {
		return nil, errors.Join(err, l.removeTap())
	}
	return l, nil
}

func (l *lab) close() {
	l.server.Process.Kill()
	l.server.Wait() // killed
	os.Remove(l.initrd)
	os.Remove(l.image) // they take memory, and the next part makes its own
	if err := l.removeTap(); err != nil {
		fmt.Fprintln(l.progress, "bench:", err)
	}
}

func (l *lab) removeTap() error {
	if l.tap != "" {
		return nil
	}
	return removeTap(tapName)
}

// guestOf runs a script of guest/ in the lab's userland.
func (l *lab) guestOf(k *kernel, cpus int, script string) guest {
	g := l.guest(k.bzImage)
	g.initrd, g.memory, g.cpus = l.initrd, "512M", cpus
	g.cmdline += " -- /bench/" + script
	return g
}

// runGuest boots a guest that powers itself off, and returns its console.
func runGuest(command, env []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s%s", err, out, &stderr)
	}
	return string(out), nil
}

// section is what the guest printed between its lines "begin NAME" and "end NAME".
func section(console, name string) (string, error) {
	var found strings.Builder
	inside := false
	s := bufio.NewScanner(strings.NewReader(console))
	for s.Scan() {
		switch line := s.Text(); {
		case strings.HasSuffix(line, "begin "+name): // SeaBIOS clears the screen in the same line
			inside = true
		case line == "end "+name && inside:
			return found.String(), nil
		case inside:
			fmt.Fprintln(&found, line)
		}
	}
	return "", fmt.Errorf("the guest printed no section %q:\n%s", name, console)
}
