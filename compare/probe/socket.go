package probe

import (
	"io"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets by the kernel's own calls: package net would be an eighth of the program, most of it to resolve names.

// netPatience is how long a socket waits for its peer.
const netPatience = 10 * time.Second

// socketFor makes a TCP socket for "ADDRESS:PORT", where no address is all of IPv4's.
func socketFor(address string) (fd int, peer unix.Sockaddr, err error) {
	if strings.HasPrefix(address, ":") {
		address = "0.0.0.0" + address
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, nil, err
	}
	family, port, host := unix.AF_INET6, int(a.Port()), a.Addr().Unmap()
	peer = &unix.SockaddrInet6{Port: port, Addr: host.As16()}
	if host.Is4() {
		family, peer = unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: host.As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return fd, peer, err
}

// A listener accepts connections.
type listener struct{ fd int }

func listen(address string) (listener, error) {
	fd, at, err := socketFor(address)
	if err != nil {
		return listener{}, err
	}
	l := listener{fd}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, at)
	}
	if err == nil {
		err = unix.Listen(fd, maxClients)
	}
	if err != nil {
		unix.Close(fd)
	}
	return l, err
}

// address is where it listens, which it may have left to the kernel.
func (l listener) address() string {
	at, err := unix.Getsockname(l.fd)
	if err != nil {
		return ""
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(at.Addr), uint16(at.Port)).String()
	}
	return ""
}

func (l listener) accept() (conn, error) {
	for {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return conn{}, err
		}
		return newConn(fd)
	}
}

// A conn is a connection that waits netPatience for each piece, and no longer.
type conn struct{ fd int }

func newConn(fd int) (conn, error) {
	t := unix.NsecToTimeval(netPatience.Nanoseconds())
	err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t)
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &t)
	}
	if err != nil {
		unix.Close(fd)
	}
	return conn{fd}, err
}

// dial connects; SO_SNDTIMEO is the time for that too.
func dial(address string) (conn, error) {
	fd, peer, err := socketFor(address)
	if err != nil {
		return conn{}, err
	}
	c, err := newConn(fd)
	if err != nil {
		return c, err
	}
	if err := unix.Connect(fd, peer); err != nil {
		unix.Close(fd)
		return c, err
	}
	return c, nil
}

func (c conn) Close() error { return unix.Close(c.fd) }

func (c conn) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c conn) Write(p []byte) (done int, err error) {
	for done < len(p) {
		n, err := unix.Write(c.fd, p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
