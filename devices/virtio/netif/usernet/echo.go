package usernet

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// sendEcho takes an ICMP message of the guest. Pings of our own addresses are the stack's to answer. Others leave by a
// ping socket, in which the kernel puts an identifier of its own; the host's administrator says who may have one
// (net.ipv4.ping_group_range). Errors of ICMP need no way: the sockets of the host have their own.
func (b *Backend) sendEcho(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	dst := fromStack(id.LocalAddress)
	if dst == b.cfg.Gateway || dst == b.cfg.DNS {
		return false
	}
	h := header.ICMPv4(p.TransportHeader().Slice())
	if len(h) < header.ICMPv4MinimumSize || h.Type() != header.ICMPv4Echo || b.cfg.Restrict {
		return true
	}
	k := flowKey{
		guest:  netip.AddrPortFrom(fromStack(id.RemoteAddress), h.Ident()),
		remote: netip.AddrPortFrom(dst, 0),
	}
	f := b.echo.get(k)
	if f == nil {
		var err error
		if f, err = b.newFlow(&b.echo, k, unix.IPPROTO_ICMP, k.remote, b.deliverEcho); err != nil {
			if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
				b.logRefused("ping not possible, the host's sysctl net.ipv4.ping_group_range does not have this group", "to", dst)
			} else {
				b.logRefused("ping not possible", "to", dst, "err", err)
			}
			return true
		}
	}
	data := flatten(p, p.Data().Size())
	message := make([]byte, len(h)+len(data))
	copy(message, h)
	copy(message[len(h):], data)
	f.send(message)
	return true
}

// deliverEcho gives the guest the reply to a ping.
func (b *Backend) deliverEcho(f *flow, message []byte) {
	if len(message) < header.ICMPv4MinimumSize || header.ICMPv4(message).Type() != header.ICMPv4EchoReply {
		return
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.ICMPv4MinimumSize + int(f.route.MaxHeaderLength()),
		Payload:            viewOf(message[header.ICMPv4MinimumSize:]),
	})
	defer p.DecRef()
	p.TransportProtocolNumber = header.ICMPv4ProtocolNumber
	h := header.ICMPv4(p.TransportHeader().Push(header.ICMPv4MinimumSize))
	copy(h, message)
	h.SetIdent(f.key.guest.Port())
	h.SetChecksum(0)
	h.SetChecksum(header.ICMPv4Checksum(h, checksum.Checksum(message[header.ICMPv4MinimumSize:], 0)))
	b.write(f.route, header.ICMPv4ProtocolNumber, p)
}
