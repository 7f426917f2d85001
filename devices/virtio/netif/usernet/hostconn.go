package usernet

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A hostConn is a TCP connection on the host's side. All of its methods may be called at any time.
type hostConn interface {
	SyscallConn() (syscall.RawConn, error)
	SetDeadline(time.Time) error
	CloseWrite() error
	Close() error
	reset() // ends it by RST
	peer() string
}

// dialled is one of package net's.
type dialled struct{ *net.TCPConn }

func (c dialled) reset() {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (c dialled) peer() string { return c.RemoteAddr().String() }

// accepted is one that was taken without package net, which would look for the zone of a peer with an address of one link only by a socket that the sandbox does not have.
type accepted struct {
	*os.File
	raw  syscall.RawConn
	from unix.Sockaddr
}

// newAccepted makes a connection of a socket that does not block, and has the rest of what package net sets.
func newAccepted(fd int, from unix.Sockaddr) (*accepted, error) {
	file := os.NewFile(uintptr(fd), "connection")
	raw, err := file.SyscallConn()
	if err == nil {
		err = os.NewSyscallError("setsockopt", setAccepted(fd))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &accepted{file, raw, from}, nil
}

func setAccepted(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepIdle.Seconds())),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepInterval.Seconds())),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepCount))
}

func (c *accepted) CloseWrite() (err error) {
	controlErr := c.raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(controlErr, os.NewSyscallError("shutdown", err))
}

func (c *accepted) reset() {
	_ = c.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	_ = c.Close()
}

func (c *accepted) peer() string { return addressOf(c.from).String() }
