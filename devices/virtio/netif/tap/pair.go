package tap

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/eventfd"
	"govmm/devices/virtio/netif"
	"govmm/devices/wait"
)

const (
	// maxIOV is the number of segments that one system call takes (UIO_MAXIOV). No chain of a queue has more.
	maxIOV = 1024

	// maxDrops is how many frames Receive drops before it lets its caller look around.
	maxDrops = 64

	// failing is how long Receive waits when there was no frame that was not lost.
	failing = 10 * time.Millisecond
)

// A pair is one queue of a tap.
type pair struct {
	tap      *Tap
	fd       int
	attached bool

	out [maxIOV]unix.Iovec // Send's

	// Receive's and Wait's.
	in     [maxIOV]unix.Iovec
	beyond [1]byte        // is written when a frame is longer than the buffer
	stop   *eventfd.Event // wakes Wait
	poll   [2]unix.PollFd // the tap and stop
	waiter wait.Waiter
	watch  eventfd.Watch // has the end of the context signal stop
}

// newPair makes fd, which is attached to a tap, a queue pair. It closes fd if it fails.
func newPair(t *Tap, fd int) (*pair, error) {
	if err := prepare(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	stop, err := eventfd.New()
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	p := &pair{tap: t, fd: fd, attached: true, stop: stop}
	p.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	p.poll[1] = unix.PollFd{Fd: int32(stop.FD()), Events: unix.POLLIN}
	return p, nil
}

// close may not be called twice.
func (p *pair) close() error {
	return errors.Join(os.NewSyscallError("close", unix.Close(p.fd)), p.stop.Close())
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
	failed := 0
	for drops := 0; drops < maxDrops; {
		got, errno := transfer(unix.SYS_READV, p.fd, p.in[:n+1])
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return 0, netif.ErrNoFrame
		case errno == unix.EBADF, errno == unix.EBADFD:
			return 0, errno // the interface is gone
		case errno != 0:
			// A frame that the kernel cannot describe, by segments of a kind that virtio does not have for one. It is gone, and the next may be well.
			p.tap.lost(errno)
			drops++
			failed++
		case got <= room && got >= netif.HeaderSize:
			return got, nil
		default:
			drops++
		}
	}
	if failed == maxDrops {
		time.Sleep(failing) // it may be the tap's state
	}
	return 0, netif.ErrNoFrame
}

// Wait implements netif.Pair.
func (p *pair) Wait(ctx context.Context) error {
	p.watch.For(ctx, p.stop)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.waiter.Poll(p.poll[:]); err != nil {
			return err
		}
		if p.poll[1].Revents != 0 {
			// Of an earlier context, if not of this one.
			if err := p.stop.Wait(); err != nil {
				return err
			}
			continue
		}
		return nil
	}
}
