package tap

import (
	"context"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif"
)

const (
	// maxIOV is the number of segments that one system call takes (UIO_MAXIOV). No chain of a queue has more.
	maxIOV = 1024

	// maxDrops is how many frames Receive drops before it lets its caller look around.
	maxDrops = 64
)

// A pair is one queue of a tap.
type pair struct {
	tap      *Tap
	fd       int
	file     *os.File
	attached bool

	out [maxIOV]unix.Iovec // Send's

	// Receive's and Wait's.
	in       [maxIOV]unix.Iovec
	beyond   [1]byte // is written when a frame is longer than the buffer
	conn     syscall.RawConn
	poll     [1]unix.PollFd
	readable func(uintptr) bool
	done     <-chan struct{} // of the context whose end wakes Wait
	release  func() bool
}

// newPair makes fd, which is attached to a tap, a queue pair. It closes fd if it fails.
func newPair(t *Tap, fd int) (*pair, error) {
	if err := prepare(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// A tap must be attached before it is polled, so the file is made here and not when it is opened.
	p := &pair{tap: t, fd: fd, file: os.NewFile(uintptr(fd), "tap "+t.name), attached: true}
	// NewFile does not say whether the poller took it; setting a deadline does.
	err := p.file.SetReadDeadline(time.Time{})
	if err == nil {
		p.conn, err = p.file.SyscallConn()
	}
	if err != nil {
		p.file.Close()
		return nil, err
	}
	p.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	p.readable = p.isReadable
	return p, nil
}

// prepare sets what the queue's frames look like (5.1.6.1).
func prepare(fd int) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, netif.HeaderSize); err != nil {
		return os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil {
		return os.NewSyscallError("TUNSETVNETLE", err)
	}
	unix.CloseOnExec(fd)
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

// Send implements netif.Pair.
func (p *pair) Send(frame [][]byte) error {
	n := fill(p.out[:], frame)
	for {
		_, errno := transfer(unix.SYS_WRITEV, p.fd, p.out[:n])
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.EBADF, unix.EBADFD:
			return errno // the interface is gone
		default:
			p.tap.dropped(errno)
			return nil
		}
	}
}

// Receive implements netif.Pair. The kernel would cut a frame that has no room; the byte beyond the buffer shows that it
// wanted to.
func (p *pair) Receive(buffer [][]byte) (int, error) {
	n := fill(p.in[:maxIOV-1], buffer)
	room := 0
	for i := range p.in[:n] {
		room += int(p.in[i].Len)
	}
	p.in[n].Base = &p.beyond[0]
	p.in[n].SetLen(1)
	for drops := 0; drops < maxDrops; {
		got, errno := transfer(unix.SYS_READV, p.fd, p.in[:n+1])
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return 0, netif.ErrNoFrame
		case errno != 0:
			return 0, errno
		case got <= room && got >= netif.HeaderSize:
			return got, nil
		default:
			drops++
		}
	}
	return 0, netif.ErrNoFrame
}

// Wait implements netif.Pair: the goroutine is parked in the runtime's poller.
func (p *pair) Wait(ctx context.Context) error {
	p.wakeOn(ctx)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.conn.Read(p.readable) == nil {
			return nil
		}
		// Of an earlier context, if not of this one. Had this one ended meanwhile, and its deadline been the one that
		// goes away here, the loop finds that it has ended.
		if p.file.SetReadDeadline(time.Time{}) != nil {
			return os.ErrClosed // which both calls have another word for
		}
	}
}

// isReadable reports whether the poller need not wait. It has to look, as the poller hears of a frame only when it comes, and one
// may have come since Receive found none.
func (p *pair) isReadable(uintptr) bool {
	p.poll[0].Revents = 0
	n, err := unix.Poll(p.poll[:], 0)
	return n > 0 || err != nil && err != unix.EINTR
}

// wakeOn makes the end of ctx wake Wait, and forgets an earlier ctx, whose deadline Wait takes away if it is there.
func (p *pair) wakeOn(ctx context.Context) {
	done := ctx.Done()
	if done == p.done {
		return
	}
	if p.release != nil {
		p.release()
	}
	file := p.file
	p.done, p.release = done, context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
}
