package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"govmm/machine"
)

// output is standard output as the guest's console, or standard error. Two things must not happen to a vCPU that
// writes to it: that a reader that has gone kills the program with the terminal still raw, and that
// one that has stopped reading keeps the run from ending.
type output struct {
	file *os.File
	// own is a description of the same pipe or terminal that does not block, or -1. Standard output's own description cannot be
	// made so, because it is other programs' as well.
	own  int
	end  context.CancelCauseFunc // what an error ends; may be nil
	over int                     // descriptor that polls as readable when the run is over; -1 when none goes on
	stop *os.File
	held *os.File // the write end, whose Close makes it so
	// patience is how long a reader that takes nothing is waited for while no run goes on, and left what is left of that, in nanoseconds. What he takes renews it.
	patience time.Duration
	left     atomic.Int64

	// unread is how long a run waits for a reader that takes nothing. What comes then is dropped until he does. Zero is for ever.
	unread  time.Duration
	since   atomic.Int64 // when somebody began to wait for him, in nanoseconds of clock; 0 when nobody has since he took something
	dropped atomic.Int64 // bytes, since then
	name    string       // for errors and the log

	failed atomic.Pointer[error] // the first error

	turn sync.Mutex // of those who write to file itself: what has room for one may block a second
}

// mostUnread is how long a guest waits for somebody who reads its console. Nobody's not reading stops it for ever.
const mostUnread = time.Minute

// chunk is how much a pipe or terminal that polls as writable takes without blocking: PIPE_BUF.
const chunk = 4096

// newOutput gives an output that ends the run by end when it fails, and
// that gives up when ctx is done. The caller closes it.
func newOutput(ctx context.Context, file *os.File, end context.CancelCauseFunc) (*output, error) {
	o := openOutput(file, 0)
	o.end = end
	if err := o.during(ctx); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// openOutput gives an output while no run goes on, which gives up after patience.
func openOutput(file *os.File, patience time.Duration) *output {
	o := &output{file: file, own: openAgain(file), over: -1, patience: patience, name: "console output"}
	o.left.Store(int64(patience))
	return o
}

// during has the output wait for its reader until ctx is done, because a run goes on. Nothing may be writing.
func (o *output) during(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	o.over, o.stop, o.held = int(r.Fd()), r, w
	context.AfterFunc(ctx, o.finish)
	return nil
}

// finish says that the run is over. It may be called at any time after during.
func (o *output) finish() { o.held.Close() }

// finishWith calls finish when the machine's run ends, which may be before its context's end.
func (o *output) finishWith(m *machine.Machine) {
	go func() {
		<-m.Ended()
		o.finish()
	}()
}

// openAgain gives another description of file, one that does not block, or -1 where there can be none: a socket cannot be
// opened, and a regular file would have a position of its own.
func openAgain(file *os.File) int {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return -1
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFIFO && kind != unix.S_IFCHR {
		return -1
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), againFlags, 0)
	if err != nil {
		return openTerminal(uint32(st.Rdev))
	}
	return fd
}

const againFlags = unix.O_WRONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// openTerminal opens the controlling terminal by the name under which everybody may, if it is device. Since su it may be another user's.
func openTerminal(device uint32) int {
	fd, err := unix.Open("/dev/tty", againFlags, 0)
	if err != nil {
		return -1
	}
	if real, err := unix.IoctlGetUint32(fd, unix.TIOCGDEV); err != nil || real != device {
		unix.Close(fd)
		return -1
	}
	return fd
}

func (o *output) close() {
	if o.held != nil {
		o.held.Close()
		o.stop.Close()
	}
	if o.own >= 0 {
		unix.Close(o.own)
	}
}

// Write passes p on, however long that takes up to unread, unless the run ends meanwhile. An error
// is the run's end; the UART has nothing to add to it.
func (o *output) Write(p []byte) (int, error) {
	try := o.own >= 0 // whether to write without waiting first
	for rest := p; len(rest) > 0; {
		if !try && !o.wait() {
			o.drop(len(rest))
			break
		}
		n, err := o.write(rest)
		if errors.Is(err, unix.EAGAIN) {
			if !try && !o.pause() {
				o.drop(len(rest))
				break
			}
			try = false
			continue
		}
		if err != nil {
			o.failed.CompareAndSwap(nil, &err)
			if o.end != nil {
				o.end(fmt.Errorf("%s: %w", o.name, err))
			}
			break
		}
		rest = rest[n:]
		o.taken()
	}
	return len(p), nil
}

// taken renews the patience with a reader who has taken something.
func (o *output) taken() {
	o.left.Store(int64(o.patience))
	if o.since.Load() == 0 && o.dropped.Load() == 0 { // nobody has waited
		return
	}
	o.since.Store(0)
	if n := o.dropped.Swap(0); n > 0 {
		go fmt.Fprintf(logOutput(), "govmm: %s: %d bytes were dropped, because nobody read\n", o.name, n) // which may take time, too
	}
}

// drop counts what a run could not pass on.
func (o *output) drop(n int) {
	if o.unread == 0 || o.isOver() {
		return
	}
	if o.dropped.Add(int64(n)) == int64(n) {
		go fmt.Fprintf(logOutput(), "govmm: %s: nobody has read for %v; what the guest writes is dropped until somebody does\n", o.name, o.unread)
	}
}

// strictOutput is an output that tells its writer of errors, who is to end by them: the command's status must not hide that its output is not whole.
type strictOutput struct{ *output }

func (o strictOutput) Write(p []byte) (int, error) {
	n, _ := o.output.Write(p)
	if err := o.failed.Load(); err != nil {
		return 0, fmt.Errorf("%s: %w", o.name, *err)
	}
	return n, nil
}

// write passes some of p on, and gives EAGAIN when nothing can be now.
func (o *output) write(p []byte) (int, error) {
	if o.own < 0 {
		o.turn.Lock()
		defer o.turn.Unlock()
		if !o.ready(0) {
			return 0, unix.EAGAIN // another has taken the room
		}
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

// pause is for an output that has room, but not enough: for a line end on a terminal that makes two characters of it. It returns false as wait does.
func (o *output) pause() bool {
	time.Sleep(time.Millisecond)
	if !o.isOver() {
		return o.timeout() != 0
	}
	return o.left.Add(-int64(time.Millisecond)) > 0
}

// clockStart is what clock counts from.
var clockStart = time.Now()

// clock is never 0.
func clock() int64 { return int64(time.Since(clockStart)) | 1 }

// timeout is how long a run still waits for the reader, in milliseconds as poll(2) has them. The time begins with the first call.
func (o *output) timeout() int {
	if o.unread == 0 {
		return -1
	}
	now := clock()
	o.since.CompareAndSwap(0, now)
	left := o.unread - time.Duration(now-o.since.Load())
	return int(max(0, left+time.Millisecond-1).Milliseconds())
}

// isOver tells whether no run goes on.
func (o *output) isOver() bool {
	if o.over < 0 {
		return true
	}
	over := [1]unix.PollFd{{Fd: int32(o.over), Events: unix.POLLIN}}
	n, _ := unix.Poll(over[:], 0)
	return n > 0
}

// ready tells whether there is room, or is after timeout, in milliseconds.
func (o *output) ready(timeout int) bool {
	fds := [1]unix.PollFd{{Fd: int32(o.file.Fd()), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds[:], timeout)
	return n > 0 || err != nil && err != unix.EINTR // the write will tell of an error
}

// wait returns true when a write will not block, false when the reader has taken nothing for long enough, which is another time when the run is over.
func (o *output) wait() bool {
	for !o.isOver() {
		fds := [2]unix.PollFd{{Fd: int32(o.file.Fd()), Events: unix.POLLOUT}, {Fd: int32(o.over), Events: unix.POLLIN}}
		timeout := o.timeout()
		_, err := unix.Poll(fds[:], timeout)
		if err == nil && fds[0].Revents != 0 {
			return true // also with the run over: what fits goes out
		}
		if err != nil && err != unix.EINTR {
			return true
		}
		if timeout == 0 {
			return false
		}
	}
	began, left := time.Now(), o.left.Load()
	ok := o.ready(int(time.Duration(max(0, left)).Milliseconds()))
	o.left.Add(-int64(time.Since(began)))
	return ok || o.left.Load() > 0 // a signal may have cut it short
}
