// Package usernet is a network for guests that needs no privilege and no setting on the host: a [netif.Backend] that
// plays a small network of its own and carries its connections over ordinary sockets of this process.
//
// The guest sees one Ethernet with a DHCP server, a gateway and a name server, with the addresses that users of QEMU
// expect: guest 10.0.2.15/24, gateway 10.0.2.2, name server 10.0.2.3. TCP ends in a TCP of ours
// (gvisor.dev/gvisor/pkg/tcpip), one for each connection, and a socket of the host carries the bytes on. UDP and pings are
// passed on packet by packet. The gateway's address reaches the host's loopback, unless [Config.NoLoopback] is set.
// From the host a guest is reached by the ports of [Config.Forwards] alone.
//
// Virtio's offloads (5.1.6) are used in both directions: TCP crosses in segments of up to 64 KiB. If the driver cannot
// take them, they are cut to the MTU on their last step.
//
// # What is left out
//
// IPv6: no router is advertised, and the guest's IPv6 frames are dropped. Multicast and broadcast, DHCP apart.
// Protocols other than TCP, UDP and ICMP echo. More than one station: the guest has one MAC address, that of the last
// frame that it sent. UDP is translated by its four-tuple, so what waits for packets from third parties (some games
// and telephones) does not work.
//
// # Bounds
//
// 4096 TCP connections, of which 256 may be half open, and 3072 be clients of forwarded ports; 1024 UDP flows and 64 pings, of which the one that is idle longest
// makes room for a new one; a flow ends after a minute of idleness. 1024 clients of forwarded UDP ports, 256 of them with one address. TCP buffers share 32 MiB a direction, but no
// connection gets less than 16 KiB nor more than 4 MiB, and the buffers of the host's sockets, which the kernel sizes for the first 256, have 64 KiB for the others. 4096 frames of 96 MiB wait for the guest, among them at most 4 MiB of
// other things than TCP, whose senders wait for acknowledgements anyway. What is beyond the bounds is dropped, or
// refused by RST, and the log has a line.
//
// # Snapshots
//
// There is nothing to save. A machine that comes from a snapshot has the address that it had, for the lease never
// changes, but its connections have ended: at their next segment the guest's side gets a RST.
//
// # The guest's inputs
//
// All frames and their virtio headers. Each byte of a frame is copied out of guest memory once, and only the copy is
// looked at. Sources outside the guest's network and destinations that no router passes on are dropped, so
// 127.0.0.1 is reached by the gateway's address only. Everything that the host can reach, the guest can, unless
// [Config.Restrict] is set.
package usernet

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"govmm/devices/virtio"
	"govmm/devices/virtio/netif"
	"govmm/devices/virtio/netif/dhcp"
)

// A Backend is a network in this process. It implements netif.Backend. Its methods are safe for concurrent use, within
// the rules of that interface.
type Backend struct {
	cfg   Config // with its defaults filled in
	log   *slog.Logger
	stack *stack.Stack
	link  *link
	queue queue // frames to the guest
	pair  pair

	dhcp      *dhcp.Server
	resolvers resolvers
	syns      *tcp.Forwarder
	memory    budget
	udp       flowTable
	echo      flowTable
	tcpFlows  atomic.Int32 // of them, forwarded are those that the host's clients began
	forwarded atomic.Int32
	gathers   atomic.Int32 // buffers of uploads
	inbound   inboundTable
	listeners []listener

	deliveryTime, lookAfter time.Duration

	// ctx ends with Close; flows counts the goroutines that end then.
	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	flows  sync.WaitGroup

	refused, dropped, failed, resets virtio.RateLimit // of log lines
}

// New makes a network and listens on the host's side of cfg.Forwards. Errors are one line and name the remedy.
// Close gives everything back.
func New(cfg Config) (*Backend, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	b := &Backend{cfg: cfg, log: cfg.Log, deliveryTime: deliveryTime, lookAfter: lookAfter}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.queue.init(); err != nil {
		b.cancel()
		return nil, err
	}
	b.pair.b = b
	b.memory.left = tcpMemory
	b.resolvers.path = cfg.ResolvConf
	b.dhcp = dhcp.New(dhcp.Config{
		Guest: cfg.Guest, Network: cfg.Network, Gateway: cfg.Gateway, DNS: []netip.Addr{cfg.DNS}, MTU: cfg.MTU, Hostname: cfg.Hostname,
	})
	b.udp.init(maxUDPFlows)
	b.echo.init(maxEchoFlows)
	b.inbound.init()
	if err := b.listen(); err != nil {
		b.cancel()
		b.queue.close()
		return nil, err
	}
	if err := b.newStack(); err != nil {
		b.Close()
		return nil, err
	}
	for i := range b.listeners {
		b.start(b.listeners[i].serve)
	}
	return b, nil
}

// Info implements netif.Backend.
func (b *Backend) Info() netif.Info {
	const offloads = netif.Checksum | netif.TSO4
	return netif.Info{Send: offloads, Receive: offloads, MTU: b.cfg.MTU, Pairs: 1}
}

// Start implements netif.Backend.
func (b *Backend) Start(receive netif.Offloads) error {
	b.pair.start(receive)
	return nil
}

// Pair implements netif.Backend. There is one.
func (b *Backend) Pair(int) netif.Pair { return &b.pair }

// Forwards returns the ports that are forwarded, with those that were asked for as 0 as they are.
func (b *Backend) Forwards() []Forward {
	all := make([]Forward, len(b.listeners))
	for i := range b.listeners {
		all[i] = b.listeners[i].forward
	}
	return all
}

// start runs f, which ends soon after b.ctx does, in a goroutine that Close waits for. It reports whether it
// does: not after Close.
func (b *Backend) start(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.flows.Go(f)
	return true
}

// Close ends all connections and waits until no goroutine, socket or timer is left. No method of the Backend or
// its Pair may be called at the same time, except Wait, nor afterwards.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.mu.Unlock()

	b.cancel()
	for i := range b.listeners {
		b.listeners[i].close()
	}
	b.udp.closeAll()
	b.echo.closeAll()
	if b.stack != nil {
		b.closeStack()
	}
	b.flows.Wait()
	b.queue.close()
	return nil
}

// Addresses returns what DHCP tells the guest, for one that is configured without: its address with the length of the network's prefix, its gateway and its name server.
func (b *Backend) Addresses() (guest netip.Prefix, gateway, dns netip.Addr) {
	return netip.PrefixFrom(b.cfg.Guest, b.cfg.Network.Bits()), b.cfg.Gateway, b.cfg.DNS
}
