package usernet

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"govmm/devices/virtio/netif"
	"govmm/devices/virtio/netif/dhcp"
)

// Options and types of DHCP messages (RFC 2132), and the size of what comes before the options.
const (
	dhcpFixedSize = 236
	dhcpCookie    = 0x63825363

	optRequested, optMessageType, optServer, optEnd = 50, 53, 54, 255

	dhcpDiscover, dhcpOffer, dhcpRequest, dhcpACK = 1, 2, 3, 5
)

func appendOption(p []byte, code byte, value []byte) []byte {
	return append(append(p, code, byte(len(value))), value...)
}

// clientMessage returns a DHCP message as clients send them, padded as most do.
func clientMessage(kind byte, options ...byte) []byte {
	p := make([]byte, dhcpFixedSize, 400)
	p[0], p[1], p[2] = 1, 1, 6 // a request, from an Ethernet
	binary.BigEndian.PutUint32(p[4:], 0x12345678)
	copy(p[28:], guestMAC[:])
	p = binary.BigEndian.AppendUint32(p, dhcpCookie)
	p = append(p, optMessageType, 1, kind)
	p = append(append(p, options...), optEnd)
	return append(p, make([]byte, max(0, 300-len(p)))...)
}

// clientFrame wraps a message as it is broadcast from src, with the virtio header.
func clientFrame(src netip.Addr, message []byte) []byte {
	p := make([]byte, prefixSize+header.IPv4MinimumSize+header.UDPMinimumSize)
	putEther(p[netif.HeaderSize:], broadcastMAC, guestMAC, typeIPv4)
	putUDP(p[prefixSize:], toStack(src), toStack(netip.MustParseAddr("255.255.255.255")), dhcp.ClientPort, dhcp.ServerPort, message)
	return append(p, message...)
}

// A dhcpAnswer is a message of the server.
type dhcpAnswer struct {
	dst     mac
	addr    netip.Addr // that it was sent to
	yours   netip.Addr
	options map[byte][]byte
}

// exchange sends a frame and returns the answer, if there is one.
func exchange(pair netif.Pair, frame []byte) (a dhcpAnswer, ok bool) {
	pair.Send([][]byte{frame})
	p := make([]byte, 2000)
	n, err := pair.Receive([][]byte{p})
	if err != nil {
		return a, false
	}
	p = p[netif.HeaderSize:n]
	a.dst = mac(p[:6])
	ip := header.IPv4(p[etherSize:])
	u := header.UDP(ip.Payload())
	a.addr = fromStack(ip.DestinationAddress())
	if !ip.IsChecksumValid() || int(ip.TotalLength()) != len(ip) || u.DestinationPort() != dhcp.ClientPort ||
		header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), u.Length()) == 0 {
		return a, false
	}
	message := u.Payload()
	a.yours = netip.AddrFrom4([4]byte(message[16:20]))
	a.options = make(map[byte][]byte)
	for o := message[dhcpFixedSize+4:]; len(o) > 1 && o[0] != optEnd; o = o[2+int(o[1]):] {
		a.options[o[0]] = o[2 : 2+int(o[1])]
	}
	return a, true
}

func (a *dhcpAnswer) kind() byte {
	if v := a.options[optMessageType]; len(v) == 1 {
		return v[0]
	}
	return 0
}

// dhcp gets an address as a client does.
func (g *guest) dhcp(b *Backend) netip.Addr {
	g.tb.Helper()
	any := netip.IPv4Unspecified()
	offer, ok := exchange(g.pair, clientFrame(any, clientMessage(dhcpDiscover)))
	if !ok || offer.kind() != dhcpOffer {
		g.tb.Fatal("no offer")
	}
	options := appendOption(appendOption(nil, optRequested, offer.yours.AsSlice()), optServer, offer.options[optServer])
	ack, ok := exchange(g.pair, clientFrame(any, clientMessage(dhcpRequest, options...)))
	if !ok || ack.kind() != dhcpACK || ack.yours != offer.yours {
		g.tb.Fatal("no acknowledgement")
	}
	return ack.yours
}
