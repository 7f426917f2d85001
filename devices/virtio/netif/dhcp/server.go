// Package dhcp is a DHCP server (RFC 2131) for a network with one guest. It keeps no state and knows no network: messages go in
// and answers come out.
//
// Left out: relays, BOOTP, and options that no usual client asks such a server for.
//
// The guest's input is messages, of which at most 1472 bytes of options are read.
package dhcp

import (
	"encoding/binary"
	"net/netip"

	"govmm/devices/virtio/netif"
)

// leaseSeconds is how long an address may be used: as it is always the same, for long.
const leaseSeconds = 24 * 60 * 60

// Config says what clients are told. All addresses are IPv4.
type Config struct {
	Guest    netip.Addr   // the address that every client gets
	Network  netip.Prefix // that Guest is in
	Gateway  netip.Addr   // the router, which is the server too
	DNS      []netip.Addr // name servers; none is told without any
	MTU      uint16       // 0: it is not told
	Hostname string       // at most 255 bytes; empty: it is not told
}

// A Server has one lease, which every client gets. Its methods may be called from any number of goroutines.
type Server struct {
	guest, gateway netip.Addr
	options        []byte // of an offer or an acknowledgement, the lease's times apart
}

// New returns a server.
func New(c Config) *Server {
	s := &Server{guest: c.Guest, gateway: c.Gateway}
	mask := ^uint32(0) << (32 - c.Network.Bits())
	s.options = appendOption(s.options, optMask, binary.BigEndian.AppendUint32(nil, mask))
	s.options = appendOption(s.options, optRouter, c.Gateway.AsSlice())
	var servers []byte
	for _, a := range c.DNS[:min(len(c.DNS), 3)] {
		servers = append(servers, a.AsSlice()...)
	}
	if len(servers) > 0 {
		s.options = appendOption(s.options, optDNS, servers)
	}
	network := c.Network.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(network[:]) | ^mask
	s.options = appendOption(s.options, optBroadcast, binary.BigEndian.AppendUint32(nil, last))
	if c.MTU != 0 {
		s.options = appendOption(s.options, optMTU, binary.BigEndian.AppendUint16(nil, c.MTU))
	}
	if c.Hostname != "" {
		s.options = appendOption(s.options, optHostname, []byte(c.Hostname))
	}
	return s
}

func appendOption(p []byte, code byte, value []byte) []byte {
	return append(append(p, code, byte(len(value))), value...)
}

// An Answer is a message for a client, to be sent from the server's port and the gateway's address to the client's port.
type Answer struct {
	Message  []byte
	Addr     netip.Addr // where it goes
	Hardware netif.MAC  // the same on the Ethernet
	// Reachable is whether the client has Addr already, so that it answers when the Ethernet is asked for it.
	Reachable bool
}

// Answer answers a client's message, or tells that it gets no answer.
func (s *Server) Answer(datagram []byte) (Answer, bool) {
	m, err := parse(datagram)
	if err != nil {
		return Answer{}, false
	}
	kind := s.kind(&m)
	if kind == 0 {
		return Answer{}, false
	}
	a := Answer{Message: s.reply(&m, kind)}
	a.Addr, a.Hardware = s.destination(&m, kind)
	a.Reachable = a.Addr == m.client
	return a, true
}

// kind returns the type of the answer to m, or 0 if it gets none (RFC 2131, 4.3).
func (s *Server) kind(m *message) byte {
	switch m.kind {
	case discover:
		return offer
	case request:
		if m.server.IsValid() && m.server != s.gateway {
			return 0 // the client has chosen another server
		}
		wanted := m.requested
		if !wanted.IsValid() {
			wanted = m.client // renewing or rebinding
		}
		if wanted != s.guest {
			return nak
		}
		return ack
	case inform:
		return ack
	}
	return 0
}

// reply returns the message of type kind that answers m.
func (s *Server) reply(m *message, kind byte) []byte {
	p := make([]byte, fixedSize, minimum)
	p[0], p[1], p[2] = bootReply, 1, 6
	binary.BigEndian.PutUint32(p[4:], m.xid)
	if m.broadcast {
		binary.BigEndian.PutUint16(p[10:], broadcast)
	}
	if kind != nak {
		copy(p[12:], m.client.AsSlice())
		if m.kind != inform {
			copy(p[16:], s.guest.AsSlice())
		}
	}
	copy(p[28:], m.hardware[:])
	p = binary.BigEndian.AppendUint32(p, cookie)
	p = appendOption(p, optMessageType, []byte{kind})
	p = appendOption(p, optServer, s.gateway.AsSlice())
	if kind != nak {
		if m.kind != inform {
			p = appendOption(p, optLeaseTime, binary.BigEndian.AppendUint32(nil, leaseSeconds))
			p = appendOption(p, optRenewalTime, binary.BigEndian.AppendUint32(nil, leaseSeconds/2))
			p = appendOption(p, optRebindTime, binary.BigEndian.AppendUint32(nil, leaseSeconds/8*7))
		}
		p = append(p, s.options...)
	}
	p = append(p, optEnd)
	if len(p) < minimum {
		p = p[:minimum] // made with that capacity, of zeros
	}
	return p
}

var (
	everyone    = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	everyoneMAC = netif.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// destination says where the answer goes (RFC 2131, 4.1).
func (s *Server) destination(m *message, kind byte) (netip.Addr, netif.MAC) {
	switch {
	case kind != nak && m.client != netip.IPv4Unspecified():
		return m.client, m.hardware
	case kind == nak || m.broadcast:
		return everyone, everyoneMAC
	}
	return s.guest, m.hardware
}
