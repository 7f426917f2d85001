package usernet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A listener is the host's side of a Forward.
type listener struct {
	b       *Backend
	forward Forward
	socket  *os.File
	raw     syscall.RawConn // of socket
}

// listen opens all of them.
func (b *Backend) listen() error {
	for _, f := range b.cfg.Forwards {
		l := listener{b: b}
		if err := l.listen(f); err != nil {
			for i := range b.listeners {
				b.listeners[i].close()
			}
			return err
		}
		b.listeners = append(b.listeners, l)
	}
	return nil
}

// listenTCP listens for TCP alone: Multipath TCP, which Go would take connections of too, counts its FIN as a byte that can be read.
func listenTCP(network string, at netip.AddrPort) (*net.TCPListener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	l, err := c.Listen(context.Background(), network, at.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func (l *listener) listen(f Forward) (err error) {
	at := netip.AddrPortFrom(f.Host, f.HostPort)
	family := "4" // without it 0.0.0.0 would be all of IPv6, too
	if f.Host.Is6() {
		family = "6"
	}
	if f.UDP {
		var c *net.UDPConn
		if c, err = net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(at)); err == nil {
			f.HostPort = c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			err = l.keep(c)
		}
	} else {
		var c *net.TCPListener
		if c, err = listenTCP("tcp"+family, at); err == nil {
			f.HostPort = c.Addr().(*net.TCPAddr).AddrPort().Port()
			err = l.keep(c)
		}
	}
	l.forward = f
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%v is in use on the host: give another port in forward %v, or port 0 for a free one", at, f)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%v needs a privilege on the host: give a port from 1024 on in forward %v", at, f)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%v is no address of the host: give one that it has in forward %v", f.Host, f)
	}
	return fmt.Errorf("forward %v: %w", f, err)
}

// keep makes a socket of package net's the listener's own. Package net would look for the zone of a client with an address of one link only, as dialTCP says.
func (l *listener) keep(c interface {
	File() (*os.File, error)
	Close() error
}) (err error) {
	l.socket, err = c.File() // a copy
	if err = errors.Join(err, c.Close()); err == nil {
		l.raw, err = l.socket.SyscallConn()
	}
	return err
}

func (l *listener) close() { l.socket.Close() }

// serve forwards until the listener is closed.
func (l *listener) serve() {
	if l.forward.UDP {
		l.serveUDP()
		return
	}
	for {
		conn, err := l.accept()
		switch {
		case err == nil:
			l.accepted(conn)
		case l.b.ctx.Err() != nil:
			return
		default: // no descriptors left, perhaps
			l.b.logFailed("no connection accepted", "at", l.forward, "err", err)
			select {
			case <-l.b.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// accept takes a connection.
func (l *listener) accept() (hostConn, error) {
	var (
		fd   int
		from unix.Sockaddr
		err  error
	)
	if readErr := l.raw.Read(func(listening uintptr) bool {
		for {
			fd, from, err = unix.Accept4(int(listening), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != unix.EINTR && err != unix.ECONNABORTED {
				return err != unix.EAGAIN
			}
		}
	}); readErr != nil {
		return nil, readErr
	}
	if err != nil {
		return nil, os.NewSyscallError("accept4", err)
	}
	return newAccepted(fd, from)
}

// accepted connects a connection of the host to the guest.
func (l *listener) accepted(conn hostConn) {
	b := l.b
	if !b.enterForwarded() {
		b.logDropped("TCP connection of a client refused", "connections", b.tcpFlows.Load(), "of clients", b.forwarded.Load())
		conn.reset()
		return
	}
	go func() {
		defer b.leaveForwarded()
		var queue waiter.Queue
		ep, err := b.connect(&queue, netip.AddrPortFrom(l.forward.Guest, l.forward.GuestPort))
		if err != nil {
			b.logRefused("the guest does not answer", "forward", l.forward, "err", err)
			conn.reset()
			return
		}
		b.relay(ep, &queue, conn)
	}()
}

// The ports of the gateway that stand for clients of forwarded UDP ports.
const firstInboundPort = 1<<16 - maxUDPFlows

// A client is somebody on the host's side who sends to a forwarded UDP port. The guest sees him as a port of the gateway.
type client struct {
	addr netip.AddrPort
	to   unix.Sockaddr // the same
	from *listener
	port uint16
	used time.Time
}

type clientKey struct {
	addr netip.AddrPort
	from *listener
}

// maxSame is how many clients may have one address: whoever sends from all of his ports is not to take those of others.
const maxSame = maxUDPFlows / 4

// An inboundTable has all clients. A client keeps his port until it is needed for another.
type inboundTable struct {
	mu     sync.Mutex
	byKey  map[clientKey]*client
	byPort map[uint16]*client
}

func (t *inboundTable) init() {
	t.byKey, t.byPort = make(map[clientKey]*client), make(map[uint16]*client)
}

// get returns the client with the given address, a new one if necessary.
func (t *inboundTable) get(l *listener, from unix.Sockaddr) *client {
	addr := addressOf(from)
	t.mu.Lock()
	defer t.mu.Unlock()
	k := clientKey{addr, l}
	c := t.byKey[k]
	if c == nil {
		c = &client{addr: addr, to: from, from: l, port: t.port(addr.Addr())}
		t.byKey[k], t.byPort[c.port] = c, c
	}
	c.used = time.Now()
	return c
}

// port returns a port for a client with the given address: of the client that was idle longest, if there is no other, or if there are too many with the address.
func (t *inboundTable) port(addr netip.Addr) uint16 {
	var oldest, oldestSame *client
	same := 0
	for _, c := range t.byPort {
		if oldest == nil || c.used.Before(oldest.used) {
			oldest = c
		}
		if c.addr.Addr() != addr {
			continue
		}
		same++
		if oldestSame == nil || c.used.Before(oldestSame.used) {
			oldestSame = c
		}
	}
	switch {
	case same >= maxSame:
		oldest = oldestSame
	case len(t.byPort) < maxUDPFlows:
		return firstInboundPort + uint16(len(t.byPort))
	}
	delete(t.byKey, clientKey{oldest.addr, oldest.from})
	return oldest.port
}

// answer passes a datagram of the guest to the client that k's remote port stands for, and reports whether there is one.
func (t *inboundTable) answer(k flowKey, payload []byte) bool {
	t.mu.Lock()
	c := t.byPort[k.remote.Port()]
	if c != nil && (k.remote.Addr() != c.from.b.cfg.Gateway || k.guest.Addr() != c.from.forward.Guest || k.guest.Port() != c.from.forward.GuestPort) {
		c = nil
	}
	if c != nil {
		c.used = time.Now()
	}
	t.mu.Unlock()
	if c == nil {
		return false
	}
	c.send(payload)
	return true
}

// send gives the socket one datagram. What it does not take at once is lost, as datagrams may be: to wait would hold up all that the guest sends.
func (c *client) send(payload []byte) {
	_ = c.from.raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), payload, unix.MSG_DONTWAIT, c.to) })
}

// serveUDP passes datagrams of clients to the guest.
func (l *listener) serveUDP() {
	b := l.b
	route, err := b.stack.FindRoute(nic, toStack(b.cfg.Gateway), toStack(l.forward.Guest), ipv4.ProtocolNumber, false)
	if err != nil {
		b.logFailed("no route to the guest", "err", stackError("route", err))
		return
	}
	defer route.Release()
	p := make([]byte, maxDatagram)
	for {
		var (
			n    int
			from unix.Sockaddr
			err  error
		)
		if closed := l.raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), p, unix.MSG_DONTWAIT)
			return err != unix.EAGAIN && err != unix.EINTR
		}); closed != nil {
			return
		}
		if err == nil {
			b.putDatagram(route, b.inbound.get(l, from).port, l.forward.GuestPort, p[:n])
		}
	}
}

// addressOf is for telling senders apart. Its zone is a number.
func addressOf(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(s.Addr)
		if s.ZoneId != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(s.ZoneId), 10))
		}
		return netip.AddrPortFrom(addr, uint16(s.Port))
	}
	return netip.AddrPort{}
}
