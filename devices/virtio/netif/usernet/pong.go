package usernet

import (
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const pongTTL = 64

// isOwnEcho reports whether the packet that begins with ip, of total bytes, is a ping of one of our own addresses, and one
// that answerEcho can answer: without options and in one piece.
func (b *Backend) isOwnEcho(ip header.IPv4, size, total int) bool {
	dst := fromStack(ip.DestinationAddress())
	return (dst == b.cfg.Gateway || dst == b.cfg.DNS) && ip.TransportProtocol() == header.ICMPv4ProtocolNumber &&
		size == header.IPv4MinimumSize && !ip.More() && ip.FragmentOffset() == 0 &&
		total >= size+header.ICMPv4MinimumSize && total <= int(b.cfg.MTU) &&
		len(ip) >= size+header.ICMPv4MinimumSize && header.ICMPv4(ip[size:]).Type() == header.ICMPv4Echo
}

// answerEcho answers a ping of one of our own addresses (RFC 792). The stack would do it as well, but takes longer for it than
// all the rest of a ping's way: this is the one packet whose time people look at. frame is a copy of the packet with room for
// an Ethernet header before it, and becomes the answer.
func (b *Backend) answerEcho(frame []byte) {
	ip := header.IPv4(frame[etherSize:])
	message := header.ICMPv4(ip[header.IPv4MinimumSize:])
	if !ip.IsChecksumValid() || checksum.Checksum(message, 0) != 0xffff {
		return
	}
	guest, _ := unpackMAC(b.pair.guestMAC.Load()) // known from this very frame
	putEther(frame, guest, hostMAC, typeIPv4)
	src, dst := ip.SourceAddress(), ip.DestinationAddress()
	ip.SetSourceAddress(dst)
	ip.SetDestinationAddress(src)
	ip.SetTTL(pongTTL)
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	message.SetType(header.ICMPv4EchoReply)
	message.SetChecksum(0)
	message.SetChecksum(^checksum.Checksum(message, 0))
	b.putFrame(frame)
}
