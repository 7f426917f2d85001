package usernet

import (
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A cutter makes segments of the MTU, with their checksums, of a large segment of TCP over IPv4, for drivers that
// do without the offloads. It does so on the last step, so that everything before is the same for all drivers, who may
// also change their mind.
type cutter struct {
	packet *stack.PacketBuffer // nil if there is none
	sent   int                 // bytes of its payload
	ip     int                 // length of the IP header
	head   int                 // of both headers
	size   int                 // of the whole
	header [header.IPv4MaximumHeaderSize + header.TCPHeaderMaximumSize]byte
}

// begin takes a packet and the reference to it. It is TCP over IPv4.
func (c *cutter) begin(p *stack.PacketBuffer) {
	c.packet, c.sent = p, 0
	c.ip = len(p.NetworkHeader().Slice())
	c.head = c.ip + len(p.TransportHeader().Slice())
	c.size = p.Size()
}

func (c *cutter) release() {
	if c.packet != nil {
		c.packet.DecRef()
		c.packet = nil
	}
}

// next writes the next segment and returns its length with everything before it. It returns 0, and lets the rest go, if
// it has no room.
func (c *cutter) next(p *pair, buffer [][]byte, room int) int {
	mss := int(c.packet.GSOOptions.MSS)
	if mss == 0 {
		mss = c.size
	}
	part := min(mss, c.size-c.head-c.sent)
	last := c.sent+part == c.size-c.head
	var prefix [prefixSize]byte
	n := prefixSize + c.head + part
	if n > room || !p.putPrefix(prefix[:], c.packet) {
		c.release()
		return 0
	}
	h := c.header[:c.head]
	copy(h, c.packet.NetworkHeader().Slice())
	copy(h[c.ip:], c.packet.TransportHeader().Slice())
	c.edit(h, part, last)

	w := scatter{segments: buffer}
	w.write(prefix[:])
	w.write(h)
	w.writePacket(c.packet, c.head+c.sent, part)
	c.sent += part
	if last {
		c.release()
	}
	return n
}

// edit makes h the headers of the segment that has part bytes from c.sent on.
func (c *cutter) edit(h []byte, part int, last bool) {
	ip, tcp := header.IPv4(h[:c.ip]), header.TCP(h[c.ip:])
	ip.SetTotalLength(uint16(c.head + part))
	ip.SetID(ip.ID() + uint16(c.sent/max(1, int(c.packet.GSOOptions.MSS))))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())

	tcp.SetSequenceNumber(tcp.SequenceNumber() + uint32(c.sent))
	if !last {
		tcp.SetFlags(uint8(tcp.Flags() &^ (header.TCPFlagPsh | header.TCPFlagFin)))
	}
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp)+part))
	tcp.SetChecksum(0)
	tcp.SetChecksum(^checksum.Checksum(tcp, sumPacket(c.packet, c.head+c.sent, part, sum)))
}

// sumPacket adds the Internet checksum of n bytes of p from off on to initial. Only the sum of the pieces at even
// offsets can be added as it is; the others have their bytes exchanged.
func sumPacket(p *stack.PacketBuffer, off, n int, initial uint16) uint16 {
	sum, odd := initial, false
	for s := range pieces(p, off, n) {
		piece := checksum.Checksum(s, 0)
		if odd {
			piece = piece<<8 | piece>>8
		}
		sum = checksum.Combine(sum, piece)
		odd = odd != (len(s)%2 != 0)
	}
	return sum
}
