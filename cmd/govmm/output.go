package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// output is standard output as the guest's console. Two things must not happen to a vCPU that
// writes to it: that a reader that has gone kills the program with the terminal still raw, and that
// one that has stopped reading keeps the run from ending.
type output struct {
	file *os.File
	// own is a description of the same pipe or terminal that does not block, or -1. Standard output's own description cannot be
	// made so, because it is other programs' as well.
	own  int
	end  context.CancelCauseFunc
	over int // descriptor that polls as readable when the run is over
	stop *os.File
	held *os.File // the write end, whose Close makes it so
}

// chunk is how much a pipe or terminal that polls as writable takes without blocking: PIPE_BUF.
const chunk = 4096

// newOutput gives an output that ends the run by end when it fails, and
// that gives up when ctx is done. The caller closes it.
func newOutput(ctx context.Context, file *os.File, end context.CancelCauseFunc) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { w.Close() })
	return &output{file: file, own: openAgain(file), end: end, over: int(r.Fd()), stop: r, held: w}, nil
}

// openAgain gives another description of file, one that does not block, or -1 where there can be none: a socket cannot be
// opened, a regular file would have a position of its own, and a terminal may be another user's since su.
func openAgain(file *os.File) int {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return -1
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFIFO && kind != unix.S_IFCHR {
		return -1
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

func (o *output) close() {
	o.held.Close()
	o.stop.Close()
	if o.own >= 0 {
		unix.Close(o.own)
	}
}

// Write passes p on, however long that takes, unless the run ends meanwhile. An error
// is the run's end; the UART has nothing to add to it.
func (o *output) Write(p []byte) (int, error) {
	try := o.own >= 0 // whether to write without waiting first
	for rest := p; len(rest) > 0; {
		if !try && !o.wait() {
			break
		}
		n, err := o.write(rest)
		if errors.Is(err, unix.EAGAIN) {
			if !try {
				// There is room, but not enough: for a line end on a terminal that makes two characters of it.
				time.Sleep(time.Millisecond)
			}
			try = false
			continue
		}
		if err != nil {
			o.end(fmt.Errorf("console output: %w", err))
			break
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// write passes some of p on, and gives EAGAIN when nothing can be now.
func (o *output) write(p []byte) (int, error) {
	if o.own < 0 {
		return o.file.Write(p[:min(len(p), chunk)])
	}
	n, errno := rawWrite(o.own, p)
	switch errno {
	case 0:
		return n, nil
	case unix.EINTR:
		return 0, unix.EAGAIN
	default:
		return 0, os.NewSyscallError("write", errno)
	}
}

// wait returns true when a write will not block, false when the run is over.
func (o *output) wait() bool {
	fds := [2]unix.PollFd{
		{Fd: int32(o.file.Fd()), Events: unix.POLLOUT},
		{Fd: int32(o.over), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds[:], -1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return true // the write will tell
		case fds[0].Revents != 0:
			return true // also with the run over: what fits goes out
		case fds[1].Revents != 0:
			return false
		}
	}
}
