package usernet

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A dhcpServer has one lease, which every client gets: there is one guest. It keeps no state, so that it goes on after a
// snapshot as if nothing had happened.
type dhcpServer struct {
	guest, gateway netip.Addr
	options        []byte // of an offer or an acknowledgement, the lease's times apart
}

func newDHCPServer(c *Config) *dhcpServer {
	s := &dhcpServer{guest: c.Guest, gateway: c.Gateway}
	mask := ^uint32(0) << (32 - c.Network.Bits())
	s.options = appendOption(s.options, optMask, binary.BigEndian.AppendUint32(nil, mask))
	s.options = appendOption(s.options, optRouter, c.Gateway.AsSlice())
	s.options = appendOption(s.options, optDNS, c.DNS.AsSlice())
	s.options = appendOption(s.options, optBroadcast, lastIn(c.Network).AsSlice())
	s.options = appendOption(s.options, optMTU, binary.BigEndian.AppendUint16(nil, c.MTU))
	if c.Hostname != "" {
		s.options = appendOption(s.options, optHostname, []byte(c.Hostname))
	}
	return s
}

func appendOption(p []byte, code byte, value []byte) []byte {
	return append(append(p, code, byte(len(value))), value...)
}

// answer returns the type of the answer to m, or 0 if it gets none (RFC 2131, 4.3).
func (s *dhcpServer) answer(m *dhcpMessage) byte {
	switch m.kind {
	case dhcpDiscover:
		return dhcpOffer
	case dhcpRequest:
		if m.server.IsValid() && m.server != s.gateway {
			return 0 // the client has chosen another server
		}
		wanted := m.requested
		if !wanted.IsValid() {
			wanted = m.client // renewing or rebinding
		}
		if wanted != s.guest {
			return dhcpNAK
		}
		return dhcpACK
	case dhcpInform:
		return dhcpACK
	}
	return 0
}

// reply returns the message of type kind that answers m.
func (s *dhcpServer) reply(m *dhcpMessage, kind byte) []byte {
	p := make([]byte, dhcpFixedSize, dhcpMinimum)
	p[0], p[1], p[2] = bootReply, 1, 6
	binary.BigEndian.PutUint32(p[4:], m.xid)
	if m.broadcast {
		binary.BigEndian.PutUint16(p[10:], dhcpBroadcast)
	}
	if kind != dhcpNAK {
		copy(p[12:], m.client.AsSlice())
		if m.kind != dhcpInform {
			copy(p[16:], s.guest.AsSlice())
		}
	}
	copy(p[28:], m.hardware[:])
	p = binary.BigEndian.AppendUint32(p, dhcpCookie)
	p = appendOption(p, optMessageType, []byte{kind})
	p = appendOption(p, optServer, s.gateway.AsSlice())
	if kind != dhcpNAK {
		if m.kind != dhcpInform {
			p = appendOption(p, optLeaseTime, binary.BigEndian.AppendUint32(nil, leaseSeconds))
			p = appendOption(p, optRenewalTime, binary.BigEndian.AppendUint32(nil, leaseSeconds/2))
			p = appendOption(p, optRebindTime, binary.BigEndian.AppendUint32(nil, leaseSeconds/8*7))
		}
		p = append(p, s.options...)
	}
	p = append(p, optEnd)
	if len(p) < dhcpMinimum {
		p = p[:dhcpMinimum] // made with that capacity, of zeros
	}
	return p
}

// destination says where the answer goes (RFC 2131, 4.1).
func (s *dhcpServer) destination(m *dhcpMessage, kind byte) (netip.Addr, mac) {
	switch {
	case kind != dhcpNAK && m.client != netip.IPv4Unspecified():
		return m.client, m.hardware
	case kind == dhcpNAK || m.broadcast:
		return netip.AddrFrom4([4]byte{255, 255, 255, 255}), broadcastMAC
	}
	return s.guest, m.hardware
}

// answerDHCP answers a datagram to the DHCP server.
func (b *Backend) answerDHCP(datagram []byte) {
	m, err := parseDHCP(datagram)
	if err != nil {
		return
	}
	kind := b.dhcp.answer(&m)
	if kind == 0 {
		return
	}
	message := b.dhcp.reply(&m, kind)
	addr, hardware := b.dhcp.destination(&m, kind)
	frame := make([]byte, etherSize+header.IPv4MinimumSize+header.UDPMinimumSize, etherSize+header.IPv4MinimumSize+header.UDPMinimumSize+len(message))
	putEther(frame, hardware, hostMAC, typeIPv4)
	putUDP(frame[etherSize:], toStack(b.cfg.Gateway), toStack(addr), dhcpServerPort, dhcpClientPort, message)
	frame = append(frame, message...)
	b.queue.put(entry{frame: frame, loose: len(frame)})
}

// putUDP writes the IPv4 and UDP headers of a datagram to p.
func putUDP(p []byte, src, dst tcpip.Address, srcPort, dstPort uint16, payload []byte) {
	size := header.UDPMinimumSize + len(payload)
	ip := header.IPv4(p)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + size),
		TTL:         64,
		Protocol:    uint8(header.UDPProtocolNumber),
		SrcAddr:     src,
		DstAddr:     dst,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	u := header.UDP(p[header.IPv4MinimumSize:])
	u.Encode(&header.UDPFields{SrcPort: srcPort, DstPort: dstPort, Length: uint16(size)})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, uint16(size))
	u.SetChecksum(udpChecksum(^checksum.Checksum(u[:header.UDPMinimumSize], checksum.Checksum(payload, sum))))
}

// udpChecksum is sum as UDP sends it: 0 would mean that there is none (RFC 768).
func udpChecksum(sum uint16) uint16 {
	if sum == 0 {
		return 0xffff
	}
	return sum
}
