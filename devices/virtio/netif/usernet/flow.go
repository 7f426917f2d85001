package usernet

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	flowIdle    = time.Minute
	maxDatagram = 65507
)

var datagramPool = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// A flowKey names a flow as the guest sees it. For pings the guest's port is the identifier, the other 0.
type flowKey struct {
	guest, remote netip.AddrPort
}

// A flow is a socket of the host that stands for one of the guest's: datagrams from key.guest leave by it, and what
// comes back goes to key.guest. One goroutine reads it.
type flow struct {
	key      flowKey
	socket   *os.File
	raw      syscall.RawConn
	route    *stack.Route                  // to the guest, from key.remote
	resolver int                           // which of the resolvers it asks, of a flow to the name server
	deliver  func(f *flow, payload []byte) // to the guest
	began    time.Time                     // its table's
	used     atomic.Int64                  // when, in nanoseconds after began
	answered atomic.Bool
}

// A flowTable has all flows of one kind. When it is full, the flow that was idle longest ends.
type flowTable struct {
	began time.Time

	mu    sync.Mutex
	most  int
	flows map[flowKey]*flow
}

func (t *flowTable) init(most int) { t.began, t.most = time.Now(), most }

// touch says that the flow is used. The time counts from a moment in the past, as a clock does that nobody sets.
func (f *flow) touch() { f.used.Store(int64(time.Since(f.began))) }

// idle is how long the flow has not been used.
func (f *flow) idle() time.Duration { return time.Since(f.began) - time.Duration(f.used.Load()) }

func (t *flowTable) get(k flowKey) *flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flows[k]
}

func (t *flowTable) add(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flows == nil {
		t.flows = make(map[flowKey]*flow)
	}
	if len(t.flows) >= t.most {
		t.evict()
	}
	t.flows[f.key] = f
}

func (t *flowTable) evict() {
	var oldest *flow
	for _, f := range t.flows {
		if oldest == nil || f.used.Load() < oldest.used.Load() {
			oldest = f
		}
	}
	delete(t.flows, oldest.key)
	oldest.socket.Close() // its goroutine sees that
}

// remove takes f out, if it is in.
func (t *flowTable) remove(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flows[f.key] == f {
		delete(t.flows, f.key)
	}
}

func (t *flowTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.flows {
		f.socket.Close()
	}
}

// newFlow makes a socket of the given protocol that is connected to to, and starts its goroutine. Connected, it takes
// datagrams from there alone, and learns of refusals.
func (b *Backend) newFlow(t *flowTable, k flowKey, protocol int, to netip.AddrPort, deliver func(*flow, []byte)) (*flow, error) {
	socket, err := dialDatagram(protocol, to)
	if err != nil {
		return nil, err
	}
	f := &flow{key: k, socket: socket, deliver: deliver, began: t.began}
	f.touch()
	if f.raw, err = socket.SyscallConn(); err != nil {
		socket.Close()
		return nil, err
	}
	route, stackErr := b.stack.FindRoute(nic, toStack(k.remote.Addr()), toStack(k.guest.Addr()), ipv4.ProtocolNumber, false)
	if stackErr != nil {
		socket.Close()
		return nil, stackError("route", stackErr)
	}
	f.route = route
	t.add(f)
	if !b.start(func() { b.receive(t, f) }) {
		t.remove(f)
		route.Release()
		socket.Close()
		return nil, os.ErrClosed
	}
	return f, nil
}

// dialDatagram makes a connected datagram socket that the runtime's poller watches.
func dialDatagram(protocol int, to netip.AddrPort) (*os.File, error) {
	family, addr, err := sockaddr(to)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, addr); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// receive carries what comes to the flow's socket to the guest until the flow is idle or closed.
func (b *Backend) receive(t *flowTable, f *flow) {
	defer f.route.Release()
	defer f.socket.Close()
	defer t.remove(f)
	step := func(fd uintptr) bool { return b.receiveReady(f, int(fd)) }
	for {
		idle := f.idle()
		if idle >= flowIdle {
			return
		}
		f.socket.SetReadDeadline(time.Now().Add(flowIdle - idle))
		if err := f.raw.Read(step); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// receiveReady takes what waits in the socket. It returns false to be called again when there is more, and true where more may wait: a peer
// that never stops is not to keep the socket from being closed.
func (b *Backend) receiveReady(f *flow, fd int) bool {
	const atOnce = 64
	p := datagramPool.Get().(*[maxDatagram]byte)
	defer datagramPool.Put(p)
	for range atOnce {
		n, err := unix.Read(fd, p[:])
		switch err {
		case nil:
			f.touch()
			f.answered.Store(true)
			f.deliver(f, p[:n])
		case unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH:
			// What an ICMP message said about an earlier datagram. The flow goes on, as an ordinary socket does.
		default:
			return false
		}
	}
	return true
}

// send gives the socket one datagram. What it does not take at once is lost, as datagrams may be.
func (f *flow) send(payload []byte) {
	f.touch()
	f.raw.Control(func(fd uintptr) {
		for range 2 { // the first may return what an ICMP message said about an earlier one
			if _, err := unix.Write(int(fd), payload); err == nil || err == unix.EAGAIN {
				return
			}
		}
	})
}

func sockaddr(a netip.AddrPort) (family int, _ unix.Sockaddr, err error) {
	addr := a.Addr().Unmap()
	if addr.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: addr.As4()}, nil
	}
	zone, err := zoneIndex(addr.Zone())
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: addr.As16(), ZoneId: zone}, err
}
