package usernet

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A relay carries the bytes of one connection between the guest's TCP and the host's, each way in a goroutine.
//
// It does so inside of the calls that wait for the host's socket: what the guest sent is written to the socket from where it
// lies in the stack, and what comes from the socket is read to where the stack keeps it for the guest.
type relay struct {
	b       *Backend
	ep      tcpip.Endpoint
	conn    hostConn
	raw     syscall.RawConn
	most    int         // bytes that are read at once
	failed  atomic.Bool // one direction has ended by an error, so both have
	sent    atomic.Bool // all that the host had to say, and the FIN behind it
	up      upload
	down    download
	changed [2]chan struct{} // the endpoint can be read, written
}

// relay runs until both directions have ended, and the guest has taken all.
func (b *Backend) relay(ep tcpip.Endpoint, queue *waiter.Queue, conn hostConn) {
	size := b.memory.take()
	defer b.memory.give(size)
	raw, err := conn.SyscallConn()
	if err == nil {
		err = setSocket(raw, b.tcpFlows.Load() > mostAutotuned)
	}
	if err != nil {
		ep.Abort()
		conn.Close()
		return
	}
	options := ep.SocketOptions()
	options.SetSendBufferSize(int64(size), false)
	options.SetReceiveBufferSize(int64(size), false)
	keepAlive(ep)

	r := &relay{b: b, ep: ep, conn: conn, raw: raw, most: b.readSize()}
	stop := r.watch(queue)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.end(r.down.run(r), func() {
			r.sent.Store(true)
			ep.Shutdown(tcpip.ShutdownWrite)
		})
	}()
	r.end(r.up.run(r), func() { conn.CloseWrite() })
	<-done
	conn.Close()
	r.deliver()
}

// watch has both directions hear of the endpoint, and end with it and with the network, until stop is called.
func (r *relay) watch(queue *waiter.Queue) (stop func()) {
	const lost = waiter.EventErr | waiter.EventHUp
	var entries [3]waiter.Entry
	entries[0], r.changed[0] = waiter.NewChannelEntry(waiter.ReadableEvents | lost)
	entries[1], r.changed[1] = waiter.NewChannelEntry(waiter.WritableEvents | lost)
	entries[2] = waiter.NewFunctionEntry(lost, func(waiter.EventMask) { r.look() })
	for i := range entries {
		queue.EventRegister(&entries[i])
	}
	r.look() // it may be lost already
	forget := context.AfterFunc(r.b.ctx, r.interrupt)
	return func() {
		forget()
		for i := range entries {
			queue.EventUnregister(&entries[i])
		}
	}
}

// deliver closes the endpoint, and returns when the guest has taken what it holds: until then it counts as a connection, with its memory. A guest that has
// ended its own side and takes nothing is not waited for for ever.
func (r *relay) deliver() {
	r.ep.Close()
	enough := time.NewTimer(r.b.deliveryTime)
	defer enough.Stop()
	for !r.over() {
		select {
		case <-r.changed[0]:
		case <-r.b.ctx.Done():
			r.ep.Abort()
			return
		case <-enough.C:
			r.ep.Abort()
			return
		}
	}
}

// deliveryTime is for a guest to take the rest of a connection that both sides have ended.
const deliveryTime = 5 * time.Minute

// over tells whether the endpoint holds nothing for the guest any more.
func (r *relay) over() bool {
	switch tcp.EndpointState(r.ep.State()) {
	case tcp.StateClose, tcp.StateError, tcp.StateTimeWait:
		return true
	}
	return false
}

// look ends both directions when the guest's side of the connection is lost by its RST: each may be waiting for the host, for as long as that
// pleases. An endpoint is closed by RST too, but also when each side has acknowledged the other's FIN, and then the host may still have to
// take what the guest sent.
func (r *relay) look() {
	state := tcp.EndpointState(r.ep.State())
	if state == tcp.StateError || state == tcp.StateClose && !r.sent.Load() {
		r.interrupt()
	}
}

// interrupt ends what either direction waits for the host in, or is going to. The stack has it called with locks held, so it does not wait
// itself, as closing the socket can.
func (r *relay) interrupt() { r.conn.SetDeadline(longAgo) }

// longAgo is a time that has passed.
var longAgo = time.Unix(1, 0)

// end ends one direction: as it is usual, or the whole connection, which both sides learn by RST.
func (r *relay) end(err error, usual func()) {
	if err == nil {
		usual()
		return
	}
	if !r.failed.Swap(true) {
		r.b.logReset(r.conn.peer(), err)
		r.ep.Abort()
		r.conn.reset()
	}
}

const (
	// mostAutotuned is how many connections may have buffers of the kernel's that it sizes as it pleases, which is up to some MiB.
	mostAutotuned = 256
	// socketBuffer is for the others. In a smaller window a peer on this host could not send one of its segments, which are half of the window that it saw at first.
	socketBuffer = 64 << 10
)

// setSocket sets what a relay needs of the host's socket, of which there may be many.
func setSocket(raw syscall.RawConn, many bool) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) {
		// Urgent data of the host come in line with the rest. Otherwise the byte is a hole in what can be read, which the
		// number of bytes that are there does not tell of.
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
		if many {
			err = errors.Join(err,
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer))
		}
	}); controlErr != nil {
		return controlErr
	}
	return os.NewSyscallError("setsockopt", err)
}

// readSize is the most that one segment for the guest can have, without a rest that would make a small one.
func (b *Backend) readSize() int {
	const most = maxSegment - header.TCPTotalHeaderMaximumSize - 1
	mss := int(b.cfg.MTU) - header.IPv4MinimumSize - header.TCPMinimumSize - 12 // with a time stamp
	if mss > most {
		return most
	}
	return most / mss * mss
}

func keepAlive(ep tcpip.Endpoint) {
	idle, interval := tcpip.KeepaliveIdleOption(keepIdle), tcpip.KeepaliveIntervalOption(keepInterval)
	ep.SetSockOpt(&idle)
	ep.SetSockOpt(&interval)
	ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepCount)
	ep.SocketOptions().SetKeepAlive(true)
}

// What stopped a step of a direction.
type stop int

const (
	stopHost  stop = iota // the socket is not ready
	stopGuest             // the endpoint is not ready
	stopEnd               // this direction has ended as it should
	stopError
)
