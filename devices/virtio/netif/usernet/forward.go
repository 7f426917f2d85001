package usernet

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Forward leads what comes to a port of the host to a port of the guest.
type Forward struct {
	// UDP forwards datagrams, otherwise TCP connections.
	UDP bool
	// Host is where the host listens. The zero value means 127.0.0.1: what runs in a guest is for its user until he says otherwise,
	// and 0.0.0.0 would open it to everybody who can reach the host.
	Host netip.Addr
	// HostPort is the host's port. 0 takes a free one, which Backend.Forwards names.
	HostPort uint16
	// Guest is the guest's address. The zero value means the one that it gets by DHCP.
	Guest netip.Addr
	// GuestPort is the guest's port, not 0.
	GuestPort uint16
}

// String writes f as ParseForward reads it.
func (f Forward) String() string {
	protocol, host, guest := "tcp", "", ""
	if f.UDP {
		protocol = "udp"
	}
	if f.Host.IsValid() {
		host = f.Host.String()
		if f.Host.Is6() {
			host = "[" + host + "]"
		}
	}
	if f.Guest.IsValid() {
		guest = f.Guest.String()
	}
	return fmt.Sprintf("%s:%s:%d-%s:%d", protocol, host, f.HostPort, guest, f.GuestPort)
}

// ParseForward reads a forward as QEMU's users write it: tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport, with an IPv6 host
// address in brackets. Errors are one line.
func ParseForward(s string) (Forward, error) {
	f, err := parseForward(s)
	if err != nil {
		return Forward{}, fmt.Errorf("forward %q: %w; write it like tcp:127.0.0.1:8080-:80", s, err)
	}
	return f, nil
}

func parseForward(s string) (f Forward, err error) {
	protocol, rest, _ := strings.Cut(s, ":")
	switch protocol {
	case "tcp":
	case "udp":
		f.UDP = true
	default:
		return f, fmt.Errorf("%q is not tcp or udp", protocol)
	}
	// The zone of an IPv6 address may have a hyphen in it, an address and port of the guest never.
	i := strings.LastIndexByte(rest, '-')
	if i < 0 {
		return f, fmt.Errorf("no hyphen between host and guest")
	}
	if f.Host, f.HostPort, err = parseEnd(rest[:i], "host"); err != nil {
		return f, err
	}
	if f.Guest, f.GuestPort, err = parseEnd(rest[i+1:], "guest"); err != nil {
		return f, err
	}
	if f.Guest.IsValid() && !f.Guest.Is4() {
		return f, fmt.Errorf("guest address %v is not IPv4", f.Guest)
	}
	if f.GuestPort == 0 {
		return f, fmt.Errorf("guest port 0 is none")
	}
	return f, nil
}

// parseEnd reads [address]:port.
func parseEnd(s, side string) (addr netip.Addr, port uint16, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return addr, 0, fmt.Errorf("no colon before the %s port", side)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return addr, 0, fmt.Errorf("%s port %q is not a number of 0 to 65535", side, s[i+1:])
	}
	host := s[:i]
	if host == "" {
		return addr, uint16(n), nil
	}
	inner, bracket := strings.CutPrefix(host, "[")
	if bracket {
		inner, bracket = strings.CutSuffix(inner, "]")
	}
	addr, err = netip.ParseAddr(inner)
	if err != nil || addr.Is6() != bracket || addr.Is4In6() {
		return netip.Addr{}, 0, fmt.Errorf("%s address %q is not an IPv4 address, nor an IPv6 address in brackets", side, host)
	}
	return addr, uint16(n), nil
}
