package tapnet

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif/dhcp"
	"govmm/devices/virtio/netif/resolvconf"
)

// systemdResolvers is where systemd-resolved names the servers that it asks itself: in the usual file it is alone, at an address
// of the host's that no guest reaches.
const systemdResolvers = "/run/systemd/resolve/resolv.conf"

// A dhcpServer answers on one tap.
type dhcpServer struct {
	*dhcp.Server
	conn *net.UDPConn
	done sync.WaitGroup
}

// serveDHCP starts a server on the tap. It fails where another program has the port on all interfaces for itself.
func (r *routed) serveDHCP(log *slog.Logger) (*dhcpServer, error) {
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if controlErr := c.Control(func(fd uintptr) { err = bindTo(int(fd), string(r.tap)) }); controlErr != nil {
			return controlErr
		}
		return err
	}}
	conn, err := listen.ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", dhcp.ServerPort))
	if err != nil {
		return nil, err
	}
	s := &dhcpServer{conn: conn.(*net.UDPConn), Server: dhcp.New(dhcp.Config{
		Guest: r.guest().Addr(), Network: r.network, Gateway: r.host(), DNS: resolversForGuests(),
	})}
	s.done.Go(func() { s.serve(log) })
	return s, nil
}

// bindTo has a socket see one interface only, beside others with the same port.
func bindTo(fd int, iface string) error {
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_BROADCAST} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return err
		}
	}
	return unix.BindToDevice(fd, iface)
}

// resolversForGuests returns the host's name servers, without those that only the host itself reaches.
func resolversForGuests() (list []netip.Addr) {
	for _, path := range []string{resolvconf.Path, systemdResolvers} {
		servers, _ := resolvconf.Servers(path) // without any the guest is told of none
		for _, a := range servers {
			if a.Is4() && !a.IsLoopback() {
				list = append(list, a)
			}
		}
		if list != nil {
			break
		}
	}
	return list
}

func (s *dhcpServer) serve(log *slog.Logger) {
	p := make([]byte, 2048) // a longer message is cut short, behind what is looked at
	for {
		n, _, err := s.conn.ReadFromUDPAddrPort(p)
		if err != nil {
			return // closed
		}
		a, ok := s.Answer(p[:n])
		if !ok {
			continue
		}
		to := netip.AddrFrom4([4]byte{255, 255, 255, 255})
		if a.Reachable {
			to = a.Addr // a client with an address may listen at that only
		}
		if _, err := s.conn.WriteToUDPAddrPort(a.Message, netip.AddrPortFrom(to, dhcp.ClientPort)); err != nil {
			log.Debug("DHCP answer not sent", "err", err)
		}
	}
}

func (s *dhcpServer) close() {
	s.conn.Close()
	s.done.Wait()
}
