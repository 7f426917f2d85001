package usernet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	dialTimeout  = 30 * time.Second
	guestTimeout = 10 * time.Second // for a guest to answer a forwarded connection

	tcpMemory = 32 << 20 // of all buffers, a direction
	minBuffer = 16 << 10
	maxBuffer = 4 << 20

	// A guest that has been reset does not say so. These find out, and end its connections.
	keepIdle     = 10 * time.Minute
	keepInterval = time.Minute
	keepCount    = 5
)

// setTCPOptions fits TCP to a link that loses nothing. CUBIC's slow start ends early when delays vary, as they do between
// threads, and then grows over many round trips; NewReno's ends with the first loss. RACK sees losses in delays too.
func (b *Backend) setTCPOptions() error {
	congestion := tcpip.CongestionControlOption("reno")
	recovery := tcpip.TCPRecovery(0)
	moderate := tcpip.TCPModerateReceiveBufferOption(false)
	wait := tcpip.TCPTimeWaitTimeoutOption(5 * time.Second)
	retries := tcpip.TCPSynRetriesOption(4)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: minBuffer, Max: maxBuffer}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	for _, o := range []tcpip.SettableTransportProtocolOption{&congestion, &recovery, &moderate, &wait, &retries, &send, &receive} {
		if err := b.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return stackError("TCP", err)
		}
	}
	return nil
}

// A budget is memory that is shared out: each taker gets a quarter of what is left, so that few get much and many
// still something.
type budget struct {
	mu   sync.Mutex
	left int
}

func (m *budget) take() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := max(minBuffer, min(maxBuffer, m.left/4))
	m.left -= n
	return n
}

func (m *budget) give(n int) {
	m.mu.Lock()
	m.left += n
	m.mu.Unlock()
}

// enter counts a TCP connection in, and reports whether there may be one more.
func (b *Backend) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.tcpFlows.Load() >= maxTCPFlows {
		return false
	}
	b.tcpFlows.Add(1)
	b.flows.Add(1)
	return true
}

func (b *Backend) leave() {
	b.tcpFlows.Add(-1)
	b.flows.Done()
}

// enterForwarded is enter for one that the host's side began.
func (b *Backend) enterForwarded() bool {
	if b.forwarded.Add(1) > maxForwarded || !b.enter() {
		b.forwarded.Add(-1)
		return false
	}
	return true
}

func (b *Backend) leaveForwarded() {
	b.forwarded.Add(-1)
	b.leave()
}

// accept handles a SYN of the guest, in a goroutine of its own. The host's connection comes first, so that the guest gets
// the RST of a port that nobody listens at, as it would without us.
func (b *Backend) accept(r *tcp.ForwarderRequest) {
	if !b.enter() {
		b.logDropped("TCP connection refused", "connections", maxTCPFlows)
		r.Complete(true)
		return
	}
	defer b.leave()
	id := r.ID()
	dst := netip.AddrPortFrom(fromStack(id.LocalAddress), id.LocalPort)
	conn, err := b.dial(dst)
	if err != nil {
		// Who does not answer gets no answer; the guest tries again and gives up by itself.
		r.Complete(!errors.Is(err, context.DeadlineExceeded) && !isTimeout(err))
		b.logRefused("TCP connection not made", "to", dst, "err", err)
		return
	}
	var queue waiter.Queue
	ep, stackErr := r.CreateEndpoint(&queue)
	r.Complete(stackErr != nil)
	if stackErr != nil {
		conn.reset()
		return
	}
	b.relay(ep, &queue, conn)
}

var errZone = errors.New("TCP to an address of one link only is not supported")

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// dial connects to where the guest wants to, on the host's side.
func (b *Backend) dial(dst netip.AddrPort) (hostConn, error) {
	ctx, cancel := context.WithTimeout(b.ctx, dialTimeout)
	defer cancel()
	if b.isResolver(dst) {
		return b.resolvers.dialTCP(ctx)
	}
	to, ok := b.outside(dst)
	if !ok {
		return nil, unix.ECONNREFUSED
	}
	return dialTCP(ctx, to)
}

// dialTCP connects to an address that has no zone: to find out the names of zones, package net lists all interfaces by a socket that the sandbox does not have.
func dialTCP(ctx context.Context, to netip.AddrPort) (hostConn, error) {
	if to.Addr().Zone() != "" {
		return nil, errZone
	}
	var d net.Dialer
	d.KeepAlive = keepIdle
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return dialled{conn.(*net.TCPConn)}, nil
}

// isResolver reports whether dst is our name server.
func (b *Backend) isResolver(dst netip.AddrPort) bool {
	return dst.Addr() == b.cfg.DNS && dst.Port() == dnsPort && !b.cfg.Restrict
}

// outside returns the host's address for one that the guest asks for.
func (b *Backend) outside(dst netip.AddrPort) (netip.AddrPort, bool) {
	switch {
	case b.cfg.Restrict, dst.Addr() == b.cfg.DNS:
		return dst, false
	case dst.Addr() == b.cfg.Gateway:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dst.Port()), !b.cfg.NoLoopback
	}
	return dst, true
}

// connect makes a connection to the guest, from the gateway's address.
func (b *Backend) connect(queue *waiter.Queue, to netip.AddrPort) (tcpip.Endpoint, error) {
	ep, err := b.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, queue)
	if err != nil {
		return nil, stackError("connection", err)
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	ctx, cancel := context.WithTimeout(b.ctx, guestTimeout)
	defer cancel()
	if err := ep.Bind(tcpip.FullAddress{NIC: nic, Addr: toStack(b.cfg.Gateway)}); err != nil {
		ep.Close()
		return nil, stackError("connection", err)
	}
	err = ep.Connect(tcpip.FullAddress{NIC: nic, Addr: toStack(to.Addr()), Port: to.Port()})
	if _, ok := err.(*tcpip.ErrConnectStarted); ok {
		select {
		case <-ctx.Done():
			ep.Abort()
			return nil, ctx.Err()
		case <-ready:
		}
		err = ep.LastError()
	}
	if err != nil {
		ep.Close()
		return nil, stackError("connection", err)
	}
	return ep, nil
}
