package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// A gdbAddress is the value of --gdb: where debuggers come.
type gdbAddress struct{ network, address string }

const gdbSyntax = "write unix:PATH, or tcp:HOST:PORT as in tcp:127.0.0.1:1234"

// Set implements pflag.Value.
func (a *gdbAddress) Set(text string) error {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case kind == "unix" && rest != "":
		*a = gdbAddress{"unix", rest}
		return nil
	case kind != "tcp":
		return errors.New(gdbSyntax)
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return errors.New(gdbSyntax)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is no port: %s", port, gdbSyntax)
	}
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("%q is no address: %s", host, gdbSyntax)
	}
	if !ip.IsLoopback() {
		return fmt.Errorf("%s can be reached from elsewhere, and whoever reaches it owns the guest; give 127.0.0.1, and use ssh -L to come from elsewhere", host)
	}
	*a = gdbAddress{"tcp", net.JoinHostPort(host, port)}
	return nil
}

func (a gdbAddress) String() string {
	if a.network == "" {
		return ""
	}
	return a.network + ":" + a.address
}

// Type implements pflag.Value.
func (a *gdbAddress) Type() string { return "ADDRESS" }

// listen opens the socket. That of a path only its owner may connect to; it goes when the run has ended, for which there is a keeper.
func (a gdbAddress) listen() (net.Listener, *keeper, error) {
	if a.network == "tcp" {
		l, err := net.Listen("tcp", a.address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, fmt.Errorf("port %s is in use; choose another, or 0 for any", a.address[strings.LastIndex(a.address, ":")+1:])
		}
		return l, nil, cause(err)
	}
	path, err := filepath.Abs(a.address)
	if err != nil {
		return nil, nil, err
	}
	const longest = len(syscall.RawSockaddrUnix{}.Path) - 1
	if len(path) > longest {
		return nil, nil, fmt.Errorf("the path has %d bytes, and a socket's may have %d; choose a shorter one", len(path), longest)
	}
	// Nobody else may connect at any moment, so the file must not be there with other rights first.
	old := syscall.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, nil, fmt.Errorf("%s is there already; choose another path, or remove it if nobody uses it: rm %s", a.address, a.address)
	}
	if err != nil {
		return nil, nil, cause(err)
	}
	l.SetUnlinkOnClose(false) // the sandbox forbids it
	k, err := guardSocket(path)
	if err != nil {
		l.Close()
		_ = os.Remove(path)
		return nil, nil, err
	}
	return l, k, nil
}

// cause gives what the system says, without the address, which the caller has.
func cause(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// The file of a socket is removed by a keeper, because the monitor may not remove files, and may be killed.
const guardSocketCommand = "guard-socket"

func guardSocket(path string) (*keeper, error) {
	inode, err := socketInode(path)
	if err != nil {
		return nil, err
	}
	return startKeeper(nil, guardSocketCommand, path, strconv.FormatUint(inode, 10))
}

// socketInode is the number of the file at path, which must be a socket.
func socketInode(path string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return 0, err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return 0, fmt.Errorf("%s is no socket", path)
	}
	return st.Ino, nil
}

// newGuardSocketCommand is the keeper's own side: descriptor 3 is the pipe.
func newGuardSocketCommand() *cobra.Command {
	return &cobra.Command{
		Use:    guardSocketCommand + " PATH INODE",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			pipe := keep()
			_, _ = pipe.Read(make([]byte, 1)) // nothing comes but its end
			if inode, err := socketInode(args[0]); err != nil || strconv.FormatUint(inode, 10) != args[1] {
				return nil // it is gone, or another's
			}
			return os.Remove(args[0])
		},
	}
}
