package usernet

import (
	"encoding/binary"
	"net/netip"
)

// ARP for IPv4 over Ethernet (RFC 826).
const (
	arpSize    = 28
	arpRequest = 1
	arpReply   = 2
)

// arpStart is what all these packets begin with: Ethernet, IPv4, and the lengths of both addresses.
var arpStart = [6]byte{0, 1, 0x08, 0x00, 6, 4}

// answerARP answers a request for one of our own addresses. Every other is left alone, so that a guest which looks whether an
// address is in use finds the free ones free.
func (b *Backend) answerARP(request []byte) {
	if [6]byte(request[:6]) != arpStart || binary.BigEndian.Uint16(request[6:]) != arpRequest {
		return
	}
	sender, asked := netip.AddrFrom4([4]byte(request[14:18])), netip.AddrFrom4([4]byte(request[24:28]))
	if asked != b.cfg.Gateway && asked != b.cfg.DNS {
		return
	}
	b.putARP(arpReply, mac(request[8:14]), asked, sender)
}

// askARP asks who has the guest's address a. The answer, as any frame, tells the guest's MAC address. What was to be sent
// is lost; TCP sends it again.
func (b *Backend) askARP(a netip.Addr) {
	b.putARP(arpRequest, mac{}, b.cfg.Gateway, a)
}

func (b *Backend) putARP(op uint16, target mac, from, to netip.Addr) {
	frame := make([]byte, etherSize+arpSize)
	dst := target
	if op == arpRequest {
		dst = broadcastMAC
	}
	putEther(frame, dst, hostMAC, typeARP)
	p := frame[etherSize:]
	copy(p, arpStart[:])
	binary.BigEndian.PutUint16(p[6:], op)
	copy(p[8:], hostMAC[:])
	copy(p[14:], from.AsSlice())
	copy(p[18:], target[:])
	copy(p[24:], to.AsSlice())
	b.putFrame(frame)
}
