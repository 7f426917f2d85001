package usernet

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	gatherBelow = 16 << 10 // segments smaller than this are copied together, to save system calls
	gatherSize  = 64 << 10
)

var gatherPool = sync.Pool{New: func() any { return new([gatherSize]byte) }}

// maxGathers is how many connections may gather at a time. A socket that takes no more keeps its buffer; the rest write what they get.
const maxGathers = 128

// errSocket ends a read of the endpoint because the socket takes no more.
var errSocket = errors.New("socket not ready")

// An upload carries what the guest sends to the host's socket. It is the writer that the endpoint's Read writes to.
type upload struct {
	relay   *relay
	fd      int
	stop    stop
	failed  bool  // the socket
	err     error // why it stopped with stopError
	blocked bool  // the socket took less than it was given
	buffer  *[gatherSize]byte
	start   int // of what waits in buffer
	end     int
}

// run returns nil after the guest's FIN.
func (u *upload) run(r *relay) error {
	u.relay = r
	defer func() { // also with what no socket takes any more
		u.start = u.end
		u.free()
	}()
	step := u.step
	for {
		if err := r.raw.Write(step); err != nil {
			return err
		}
		switch u.stop {
		case stopError:
			return u.err
		case stopEnd:
			return nil
		}
		<-r.changed[0]
	}
}

// step moves what there is. It returns false to be called again when the socket can be written.
func (u *upload) step(fd uintptr) bool {
	u.fd, u.blocked = int(fd), false
	for {
		if !u.flush() {
			u.stop = stopHost
			return u.check()
		}
		_, err := u.relay.ep.Read(u, tcpip.ReadOptions{})
		switch err.(type) {
		case nil, *tcpip.ErrBadBuffer: // the latter is ours, before the first byte
			if u.failed || u.blocked {
				u.stop = stopHost
				return u.check()
			}
		case *tcpip.ErrWouldBlock:
			if u.end > 0 {
				continue
			}
			u.stop = stopGuest
			u.free()
			return true
		case *tcpip.ErrClosedForReceive:
			if u.end > 0 {
				continue
			}
			u.stop = stopEnd
			if tcp.EndpointState(u.relay.ep.State()) == tcp.StateError { // an RST whose error the other direction was told
				u.stop, u.err = stopError, stackError("receive", err)
			}
			return true
		default:
			u.stop, u.err = stopError, stackError("receive", err)
			return true
		}
	}
}

// check says what step returns when the socket is not ready.
func (u *upload) check() bool {
	if u.failed {
		u.stop = stopError
	}
	return u.failed
}

// Write takes a piece of a segment. It takes less only with an error.
func (u *upload) Write(p []byte) (int, error) {
	if u.failed {
		return 0, errSocket
	}
	if len(p) >= gatherBelow || u.buffer == nil && !u.gather() {
		if !u.flush() {
			return 0, errSocket
		}
		n := u.send(p)
		if n < len(p) {
			return n, errSocket
		}
		return n, nil
	}
	n := copy(u.buffer[u.end:], p)
	u.end += n
	if n < len(p) {
		return n, errSocket // step flushes the buffer, then goes on
	}
	return n, nil
}

// flush writes the buffer to the socket and reports whether it is empty.
func (u *upload) flush() bool {
	if u.start < u.end {
		u.start += u.send(u.buffer[u.start:u.end])
	}
	if u.start < u.end {
		return false
	}
	u.start, u.end = 0, 0
	return true
}

// send writes as much of p as the socket takes now.
func (u *upload) send(p []byte) int {
	sent := 0
	for sent < len(p) {
		n, err := unix.Write(u.fd, p[sent:])
		if n > 0 {
			sent += n
		}
		switch err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			u.blocked = true
			return sent
		default:
			u.failed, u.err = true, err
			return sent
		}
	}
	return sent
}

// gather takes a buffer and reports whether there was one.
func (u *upload) gather() bool {
	b := u.relay.b
	if b.gathers.Add(1) > maxGathers {
		b.gathers.Add(-1)
		return false
	}
	u.buffer = gatherPool.Get().(*[gatherSize]byte)
	return true
}

// free gives the buffer back if nothing waits in it.
func (u *upload) free() {
	if u.buffer != nil && u.start == u.end {
		gatherPool.Put(u.buffer)
		u.buffer = nil
		u.relay.b.gathers.Add(-1)
	}
}
