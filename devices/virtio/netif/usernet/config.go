package usernet

import (
	"fmt"
	"log/slog"
	"net/netip"
)

// The bounds of what a guest can make the host hold.
const (
	maxTCPFlows  = 4096
	maxForwarded = maxTCPFlows / 4 * 3 // of them from the host's side, for whoever can connect there is not to end the guest's own
	maxHalfOpen  = 256
	maxUDPFlows  = 1024
	maxEchoFlows = 64
)

// MinMTU is the smallest MTU: what every host of an IPv4 network takes without fragments. MaxMTU is the largest.
const (
	MinMTU = 576
	MaxMTU = 65520

	defaultMTU = 1500
)

// Config says what the network is like. The zero value is a network as QEMU's users know it, without forwarded ports.
type Config struct {
	// Network is the guest's network. The zero value means 10.0.2.0/24.
	Network netip.Prefix

	// Gateway, DNS and Guest are addresses in Network: of the router, of the name server, and the one that the guest gets by DHCP.
	// The zero value means the network's address plus 2, 3 and 15.
	Gateway, DNS, Guest netip.Addr

	// MTU is the largest IP packet, MinMTU to MaxMTU; 0 means 1500. It matters little to TCP, which crosses in segments of up to
	// 64 KiB anyway if the driver can take them.
	MTU uint16

	// Hostname is what DHCP names the guest. Empty means that it is not told.
	Hostname string

	// NoLoopback takes the way to the host's 127.0.0.1 by the gateway's address away.
	NoLoopback bool

	// Restrict takes the ways out away: the guest reaches the DHCP server and can be reached by Forwards, nothing more.
	Restrict bool

	// Forwards are ports of the host that lead to the guest.
	Forwards []Forward

	// ResolvConf is the file that names the host's resolvers. Empty means /etc/resolv.conf.
	ResolvConf string

	// Log takes what was refused or went wrong, at most one line of a kind in ten seconds. Nil is silent.
	Log *slog.Logger
}

// complete fills defaults in and checks the rest.
func (c *Config) complete() error {
	if !c.Network.IsValid() {
		c.Network = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 2, 0}), 24)
	}
	c.Network = c.Network.Masked()
	if !c.Network.Addr().Is4() || c.Network.Bits() < 8 || c.Network.Bits() > 28 {
		return fmt.Errorf("network %v: give an IPv4 network of /8 to /28, such as 10.0.2.0/24", c.Network)
	}
	for _, a := range []struct {
		name string
		addr *netip.Addr
		host byte
	}{{"gateway", &c.Gateway, 2}, {"DNS", &c.DNS, 3}, {"guest", &c.Guest, 15}} {
		if !a.addr.IsValid() {
			*a.addr = hostIn(c.Network, a.host)
		}
		if !c.Network.Contains(*a.addr) || *a.addr == c.Network.Addr() || *a.addr == lastIn(c.Network) {
			return fmt.Errorf("%s address %v: give one for hosts in %v", a.name, *a.addr, c.Network)
		}
	}
	if c.Gateway == c.Guest || c.DNS == c.Guest || c.DNS == c.Gateway {
		return fmt.Errorf("gateway %v, DNS %v and guest %v: give three different addresses", c.Gateway, c.DNS, c.Guest)
	}
	if c.MTU == 0 {
		c.MTU = defaultMTU
	}
	if c.MTU < MinMTU || c.MTU > MaxMTU {
		return fmt.Errorf("MTU %d: give %d to %d", c.MTU, MinMTU, MaxMTU)
	}
	if !validHostname(c.Hostname) {
		return fmt.Errorf("host name %q: give at most 63 letters, digits, hyphens and dots", c.Hostname)
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	return c.completeForwards()
}

func (c *Config) completeForwards() error {
	forwards := make([]Forward, len(c.Forwards))
	for i, f := range c.Forwards {
		if !f.Host.IsValid() {
			f.Host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if !f.Guest.IsValid() {
			f.Guest = c.Guest
		}
		if !c.Network.Contains(f.Guest) || f.Guest == c.Gateway || f.Guest == c.DNS {
			return fmt.Errorf("forward %v: give a guest address in %v, or none for %v", f, c.Network, c.Guest)
		}
		if f.GuestPort == 0 {
			return fmt.Errorf("forward %v: give a guest port of 1 to 65535", f)
		}
		forwards[i] = f
	}
	c.Forwards = forwards
	return nil
}

// hostIn returns the address of p plus host.
func hostIn(p netip.Prefix, host byte) netip.Addr {
	a := p.Addr().As4()
	a[3] += host // at least four bits are free
	return netip.AddrFrom4(a)
}

// lastIn returns the broadcast address of p.
func lastIn(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}

func validHostname(s string) bool {
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '-' && r != '.' {
			return false
		}
	}
	return len(s) <= 63
}
