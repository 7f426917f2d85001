package usernet

import (
	"context"
	"encoding/binary"
	"iter"
	"math"
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"govmm/devices/virtio/netif"
)

// A pair is the guest's cable: netif.Pair.
type pair struct {
	b *Backend

	// guestMAC is the source of the guest's last frame, with a bit above its 48 that says that there was one.
	guestMAC atomic.Uint64

	offloads netif.Offloads // what the driver takes
	cut      cutter         // a segment that it cannot take at once
}

func (p *pair) start(receive netif.Offloads) {
	p.offloads = receive
	p.cut.release()
}

// Send implements netif.Pair.
func (p *pair) Send(frame [][]byte) error {
	length := 0
	for _, s := range frame {
		length += len(s)
	}
	if length < prefixSize || length > netif.HeaderSize+netif.MaxFrame {
		return nil
	}
	// What stands before the payload is copied first, for it says where the payload begins.
	var prefix [prefixSize + maxHead]byte
	rest, skip := gather(prefix[:min(length, len(prefix))], frame)
	if !validSend(prefix[:netif.HeaderSize], length-netif.HeaderSize) {
		return nil
	}
	ether := prefix[netif.HeaderSize:]
	dst, src := mac(ether[0:6]), mac(ether[6:12])
	if src[0]&1 != 0 { // a group's
		return nil
	}
	p.guestMAC.Store(packMAC(src))
	n := min(length-prefixSize, math.MaxUint16)
	start := prefix[prefixSize:min(length, len(prefix))]
	switch binary.BigEndian.Uint16(ether[12:]) {
	case typeARP:
		if n >= arpSize {
			p.b.answerARP(start[:arpSize])
		}
	case typeIPv4:
		if dst[0]&1 == 0 && dst != hostMAC || n < header.IPv4MinimumSize {
			return nil // not for us
		}
		p.b.route(start, n, rest, skip)
	}
	return nil
}

// gather fills dst from segments, and returns those that have what follows, with the bytes to skip of the first.
func gather(dst []byte, segments [][]byte) (rest [][]byte, skip int) {
	for i, s := range segments {
		n := copy(dst, s)
		dst = dst[n:]
		if n < len(s) {
			return segments[i:], n
		}
	}
	return nil, 0
}

func gatherFrom(dst []byte, segments [][]byte, skip int) {
	for _, s := range segments {
		n := copy(dst, s[skip:])
		dst, skip = dst[n:], 0
	}
}

// maxHead is the most that the headers of IPv4 and TCP have together.
const maxHead = header.IPv4MaximumHeaderSize + header.TCPHeaderMaximumSize

// route decides about an IPv4 packet of the guest. It has n bytes, of which start has been copied and the others are in
// rest, after skip bytes.
func (b *Backend) route(start []byte, n int, rest [][]byte, skip int) {
	ip := header.IPv4(start)
	size, total := int(ip.HeaderLength()), int(ip.TotalLength())
	if ip[0]>>4 != header.IPv4Version || size < header.IPv4MinimumSize || size > len(ip) || total < size || total > n {
		return
	}
	if isDHCP(ip, size, total) {
		p := make([]byte, total)
		gatherFrom(p[copy(p, start):], rest, skip)
		b.answerDHCP(p[size+header.UDPMinimumSize:])
		return
	}
	src, dst := fromStack(ip.SourceAddress()), fromStack(ip.DestinationAddress())
	if !b.isGuest(src) || !b.reachable(dst) {
		return
	}
	if b.isOwnEcho(ip, size, total) {
		frame := make([]byte, etherSize+total)
		p := frame[etherSize:]
		gatherFrom(p[copy(p, start):], rest, skip)
		b.answerEcho(frame)
		return
	}
	// The stack copies the piece in which it reads a header, so the headers are a piece of their own.
	head := min(headSize(ip, size), total)
	data := buffer.MakeWithData(start[:head])
	if total > head {
		payload := buffer.NewViewSize(total - head)
		p := payload.AsSlice()
		gatherFrom(p[copy(p, start[head:]):], rest, skip)
		data.Append(payload)
	}
	b.link.deliver(stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: data}))
}

// headSize returns the length of the headers in ip, the first of which has size bytes. What makes no sense is the
// stack's to find.
func headSize(ip header.IPv4, size int) int {
	n := size + header.UDPMinimumSize // and of ICMP
	if ip.TransportProtocol() == header.TCPProtocolNumber && ip.FragmentOffset() == 0 && len(ip) >= size+header.TCPMinimumSize {
		n = size + int(header.TCP(ip[size:]).DataOffset())
	}
	return min(n, len(ip))
}

// isGuest reports whether packets may come from a.
func (b *Backend) isGuest(a netip.Addr) bool {
	c := &b.cfg
	return c.Network.Contains(a) && a != c.Gateway && a != c.DNS && a != c.Network.Addr() && a != lastIn(c.Network)
}

// reachable reports whether there is a way to a. What is not unicast has none, and neither has 127.0.0.0/8, which belongs to
// the host itself.
func (b *Backend) reachable(a netip.Addr) bool {
	if b.cfg.Network.Contains(a) {
		return a == b.cfg.Gateway || a == b.cfg.DNS
	}
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}

// Receive implements netif.Pair.
func (p *pair) Receive(buffer [][]byte) (int, error) {
	room := 0
	for _, s := range buffer {
		room += len(s)
	}
	for {
		if p.cut.packet != nil {
			if n := p.cut.next(p, buffer, room); n > 0 {
				return n, nil
			}
			continue
		}
		e, ok := p.b.queue.take()
		if !ok {
			return 0, netif.ErrNoFrame
		}
		n, kept := p.write(buffer, room, &e)
		if !kept {
			e.release()
		}
		if n > 0 {
			return n, nil
		}
	}
}

// write gives the driver the frame of e, or the first part of it, and returns its length, or 0 if it is dropped. If the
// frame has to be cut, the packet is kept for it.
func (p *pair) write(buffer [][]byte, room int, e *entry) (n int, kept bool) {
	if e.frame != nil {
		if n = netif.HeaderSize + len(e.frame); n > room {
			return 0, false
		}
		w := scatter{segments: buffer}
		w.write(noOffloads[:])
		w.write(e.frame)
		return n, false
	}
	size := e.packet.Size()
	gso := &e.packet.GSOOptions
	large := gso.Type == stack.GSOTCPv4 && size > int(gso.L3HdrLen)+len(e.packet.TransportHeader().Slice())+int(gso.MSS)
	if large && p.offloads&netif.TSO4 == 0 || gso.NeedsCsum && p.offloads&netif.Checksum == 0 {
		p.cut.begin(e.packet)
		return p.cut.next(p, buffer, room), true
	}
	if n = prefixSize + size; n > room {
		return 0, false
	}
	var prefix [prefixSize]byte
	if !p.putPrefix(prefix[:], e.packet) {
		return 0, false
	}
	if gso.NeedsCsum {
		start := etherSize + int(gso.L3HdrLen)
		prefix[hdrFlags] = needsCsum
		binary.LittleEndian.PutUint16(prefix[hdrCsumStart:], uint16(start))
		binary.LittleEndian.PutUint16(prefix[hdrCsumOffset:], gso.CsumOffset)
		if large {
			prefix[hdrGSOType] = gsoTCPv4
			binary.LittleEndian.PutUint16(prefix[hdrHdrLen:], uint16(start+len(e.packet.TransportHeader().Slice())))
			binary.LittleEndian.PutUint16(prefix[hdrGSOSize:], gso.MSS)
		}
	}
	w := scatter{segments: buffer}
	w.write(prefix[:])
	w.writePacket(e.packet, 0, size)
	return n, false
}

// putPrefix writes what stands before a packet. It reports false, and asks the guest for its address, if that is not
// known yet.
func (p *pair) putPrefix(prefix []byte, packet *stack.PacketBuffer) bool {
	dst, ok := unpackMAC(p.guestMAC.Load())
	if !ok {
		p.b.askARP(fromStack(header.IPv4(packet.NetworkHeader().Slice()).DestinationAddress()))
		return false
	}
	putEther(prefix[netif.HeaderSize:], dst, hostMAC, typeIPv4)
	return true
}

// Wait implements netif.Pair.
func (p *pair) Wait(ctx context.Context) error { return p.b.queue.wait(ctx) }

// Hold and Release implement netif.Answerer: pings of our own addresses, ARP and DHCP are answered before Send returns.

func (p *pair) Hold()             { p.b.queue.hold() }
func (p *pair) Release(more bool) { p.b.queue.release(more) }

// A scatter writes to segments one after the other. The caller sees to their room.
type scatter struct {
	segments [][]byte
	off      int // in the first segment
}

func (w *scatter) write(p []byte) {
	for len(p) > 0 {
		n := copy(w.segments[0][w.off:], p)
		p, w.off = p[n:], w.off+n
		if w.off == len(w.segments[0]) {
			w.segments, w.off = w.segments[1:], 0
		}
	}
}

// writePacket writes n bytes of packet from offset off on.
func (w *scatter) writePacket(packet *stack.PacketBuffer, off, n int) {
	for s := range pieces(packet, off, n) {
		w.write(s)
	}
}

// pieces returns n bytes of p from off on, as they lie in memory.
func pieces(p *stack.PacketBuffer, off, n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		views, skip := p.AsViewList()
		off += skip
		for v := views.Front(); v != nil && n > 0; v = v.Next() {
			s := v.AsSlice()
			if off >= len(s) {
				off -= len(s)
				continue
			}
			s = s[off:min(len(s), off+n)]
			off = 0
			n -= len(s)
			if !yield(s) {
				return
			}
		}
	}
}

func packMAC(m mac) uint64 {
	return 1<<48 | uint64(binary.BigEndian.Uint16(m[:]))<<32 | uint64(binary.BigEndian.Uint32(m[2:]))
}

func unpackMAC(v uint64) (m mac, ok bool) {
	binary.BigEndian.PutUint16(m[:], uint16(v>>32))
	binary.BigEndian.PutUint32(m[2:], uint32(v))
	return m, v != 0
}
