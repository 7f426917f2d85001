package usernet

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"govmm/devices/virtio/netif/dhcp"
)

// isDHCP reports whether the packet that begins with ip, of total bytes with a header of size bytes, is an unfragmented
// datagram to a DHCP server.
func isDHCP(ip header.IPv4, size, total int) bool {
	if ip.TransportProtocol() != header.UDPProtocolNumber || ip.More() || ip.FragmentOffset() != 0 || min(len(ip), total) < size+header.UDPMinimumSize {
		return false
	}
	u := header.UDP(ip[size:])
	return u.DestinationPort() == dhcp.ServerPort && u.SourcePort() == dhcp.ClientPort
}

// answerDHCP answers a datagram to the DHCP server.
func (b *Backend) answerDHCP(datagram []byte) {
	a, ok := b.dhcp.Answer(datagram)
	if !ok {
		return
	}
	frame := make([]byte, etherSize+header.IPv4MinimumSize+header.UDPMinimumSize, etherSize+header.IPv4MinimumSize+header.UDPMinimumSize+len(a.Message))
	putEther(frame, mac(a.Hardware), hostMAC, typeIPv4)
	putUDP(frame[etherSize:], toStack(b.cfg.Gateway), toStack(a.Addr), dhcp.ServerPort, dhcp.ClientPort, a.Message)
	frame = append(frame, a.Message...)
	b.putFrame(frame)
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
