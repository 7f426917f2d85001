package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// output is standard output as the guest's console. Two things must not happen to a vCPU that
// writes to it: that a reader that has gone kills the program with the terminal still raw, and that
// one that has stopped reading keeps the run from ending.
type output struct {
	file *os.File
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
	return &output{file: file, end: end, over: int(r.Fd()), stop: r, held: w}, nil
}

func (o *output) close() {
	o.held.Close()
	o.stop.Close()
}

// Write passes p on, however long that takes, unless the run ends meanwhile. An error
// is the run's end; the UART has nothing to add to it.
func (o *output) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), chunk)
		if !o.wait() {
			break
		}
		if _, err := o.file.Write(rest[:n]); err != nil {
			o.end(fmt.Errorf("console output: %w", err))
			break
		}
		rest = rest[n:]
	}
	return len(p), nil
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
