package usernet

import (
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// sendUDP takes a datagram of the guest, whole and on its way to anywhere. It returns false for what the stack
// should answer by "port unreachable".
func (b *Backend) sendUDP(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	h := header.UDP(p.TransportHeader().Slice())
	size := p.Data().Size()
	if len(h) < header.UDPMinimumSize || int(h.Length()) < header.UDPMinimumSize || int(h.Length())-header.UDPMinimumSize > size {
		return true
	}
	size = int(h.Length()) - header.UDPMinimumSize
	k := flowKey{
		guest:  netip.AddrPortFrom(fromStack(id.RemoteAddress), id.RemotePort),
		remote: netip.AddrPortFrom(fromStack(id.LocalAddress), id.LocalPort),
	}
	payload := flatten(p, size)
	if b.inbound.answer(k, payload) {
		return true
	}
	if b.isResolver(k.remote) {
		b.askResolver(k, payload)
		return true
	}
	f := b.udp.get(k)
	if f == nil {
		to, ok := b.outside(k.remote)
		if !ok {
			return false
		}
		var err error
		if f, err = b.newFlow(&b.udp, k, unix.IPPROTO_UDP, to, b.deliverUDP); err != nil {
			b.logRefused("UDP flow not made", "to", to, "err", err)
			return false
		}
	}
	f.send(payload)
	return true
}

// flatten returns the first n bytes of the packet's data in one piece, mostly without a copy.
func flatten(p *stack.PacketBuffer, n int) []byte {
	if v, ok := p.Data().PullUp(n); ok {
		return v[:n]
	}
	return nil
}

// deliverUDP gives the guest a datagram of a flow.
func (b *Backend) deliverUDP(f *flow, payload []byte) {
	b.putDatagram(f.route, f.key.remote.Port(), f.key.guest.Port(), payload)
}

// putDatagram sends a datagram to the guest by the stack, which cuts it into fragments if it is larger than the MTU.
func (b *Backend) putDatagram(r *stack.Route, from, to uint16, payload []byte) {
	size := header.UDPMinimumSize + len(payload)
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.UDPMinimumSize + int(r.MaxHeaderLength()),
		Payload:            viewOf(payload),
	})
	defer p.DecRef()
	p.TransportProtocolNumber = header.UDPProtocolNumber
	h := header.UDP(p.TransportHeader().Push(header.UDPMinimumSize))
	h.Encode(&header.UDPFields{SrcPort: from, DstPort: to, Length: uint16(size)})
	sum := r.PseudoHeaderChecksum(header.UDPProtocolNumber, uint16(size))
	h.SetChecksum(udpChecksum(^h.CalculateChecksum(checksum.Checksum(payload, sum))))
	b.write(r, header.UDPProtocolNumber, p)
}

func viewOf(p []byte) buffer.Buffer { return buffer.MakeWithData(p) }

func (b *Backend) write(r *stack.Route, protocol tcpip.TransportProtocolNumber, p *stack.PacketBuffer) {
	r.WritePacket(stack.NetworkHeaderParams{Protocol: protocol, TTL: r.DefaultTTL(), TOS: stack.DefaultTOS}, p)
}
