package usernet

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// DHCP (RFC 2131) and its options (RFC 2132).
const (
	dhcpServerPort = 67
	dhcpClientPort = 68

	bootRequest = 1
	bootReply   = 2

	dhcpFixedSize  = 236 // before the cookie
	dhcpCookie     = 0x63825363
	dhcpBroadcast  = 0x8000 // of flags
	dhcpMinimum    = 300    // of a reply: some clients take none that is shorter than BOOTP's
	dhcpMaxOptions = 1472   // bytes that are looked at

	optPad, optEnd  = 0, 255
	optMask         = 1
	optRouter       = 3
	optDNS          = 6
	optHostname     = 12
	optMTU          = 26
	optBroadcast    = 28
	optRequested    = 50
	optLeaseTime    = 51
	optMessageType  = 53
	optServer       = 54
	optRenewalTime  = 58
	optRebindTime   = 59
	leaseSeconds    = 24 * 60 * 60
	dhcpChaddrBytes = 16
)

// DHCP message types.
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpDecline  = 4
	dhcpACK      = 5
	dhcpNAK      = 6
	dhcpRelease  = 7
	dhcpInform   = 8
)

var errDHCP = errors.New("not a DHCP request")

// A dhcpMessage is what the server looks at of a client's message.
type dhcpMessage struct {
	kind      byte
	xid       uint32
	broadcast bool
	client    netip.Addr // ciaddr: the address that the client has
	hardware  mac
	requested netip.Addr // invalid if the option is not there
	server    netip.Addr // invalid if the option is not there
}

// isDHCP reports whether the packet that begins with ip, of total bytes with a header of size bytes, is an unfragmented
// datagram to a DHCP server.
func isDHCP(ip header.IPv4, size, total int) bool {
	if ip.TransportProtocol() != header.UDPProtocolNumber || ip.More() || ip.FragmentOffset() != 0 || min(len(ip), total) < size+header.UDPMinimumSize {
		return false
	}
	u := header.UDP(ip[size:])
	return u.DestinationPort() == dhcpServerPort && u.SourcePort() == dhcpClientPort
}

// parseDHCP reads a client's message.
func parseDHCP(p []byte) (m dhcpMessage, err error) {
	if len(p) < dhcpFixedSize+4 || p[0] != bootRequest || p[1] != 1 || p[2] != 6 ||
		binary.BigEndian.Uint32(p[dhcpFixedSize:]) != dhcpCookie {
		return m, errDHCP
	}
	if [4]byte(p[24:28]) != [4]byte{} {
		return m, errDHCP // came by a relay; there is none here
	}
	m.xid = binary.BigEndian.Uint32(p[4:])
	m.broadcast = binary.BigEndian.Uint16(p[10:])&dhcpBroadcast != 0
	m.client = netip.AddrFrom4([4]byte(p[12:16]))
	m.hardware = mac(p[28:34])
	options := p[dhcpFixedSize+4:]
	options = options[:min(len(options), dhcpMaxOptions)]
	for len(options) > 0 && options[0] != optEnd {
		if options[0] == optPad {
			options = options[1:]
			continue
		}
		if len(options) < 2 || len(options) < 2+int(options[1]) {
			return m, errDHCP
		}
		m.option(options[0], options[2:2+int(options[1])])
		options = options[2+int(options[1]):]
	}
	if m.kind == 0 {
		return m, errDHCP // BOOTP
	}
	return m, nil
}

func (m *dhcpMessage) option(code byte, value []byte) {
	switch {
	case code == optMessageType && len(value) == 1:
		m.kind = value[0]
	case code == optRequested && len(value) == 4:
		m.requested = netip.AddrFrom4([4]byte(value))
	case code == optServer && len(value) == 4:
		m.server = netip.AddrFrom4([4]byte(value))
	}
}
