//go:build kvmtest

package machine

import "encoding/binary"

// netRequest is a frame to send, room for frames, or a command.
func (h *hostile) netRequest(queue int) (buffers []buffer) {
	switch {
	case queue == len(h.queues)-1:
		command := []byte{pick(h, 0, 1, 1, 4, 5, byte(h.Uint32())), byte(h.Uint32N(4))}
		return []buffer{h.out(command), h.out(h.bytes(pick(h, 1, 2, 6, 8, h.IntN(64)))), h.in(1)}
	case queue%2 == 0:
		for range 1 + h.IntN(3) {
			buffers = append(buffers, h.in(pick(h, 1526, 65562, h.Uint32N(2000), 12, 11)))
		}
		return buffers
	}
	frame := h.frame()
	if h.chance(4) { // a bit of it wrong
		frame[h.IntN(len(frame))] ^= byte(h.Uint32())
	}
	if h.chance(8) {
		frame = frame[:h.IntN(len(frame))]
	}
	header := make([]byte, 12)
	if h.chance(3) {
		header = h.offload()
	}
	if h.chance(3) {
		return []buffer{h.out(append(header, frame...))}
	}
	return []buffer{h.out(header), h.out(frame)}
}

// offload is a struct virtio_net_hdr (5.1.6) that asks for a checksum and for segments.
func (h *hostile) offload() []byte {
	p := []byte{byte(h.Uint32N(4)), pick(h, 0, 1, 3, 4, 5, 0x81, byte(h.Uint32()))}
	for _, usual := range []uint16{54, 1460, 34, 16} { // hdr_len, gso_size, csum_start, csum_offset
		p = binary.LittleEndian.AppendUint16(p, pick(h, usual, usual, uint16(h.Uint32N(100)), uint16(h.Uint32())))
	}
	return binary.LittleEndian.AppendUint16(p, uint16(h.Uint32N(3)))
}

var (
	everybody   = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	gatewayMAC  = []byte{0x52, 0x55, 10, 0, 2, 2}
	hostileMAC  = []byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	hostileAddr = []byte{10, 0, 2, 15}
)

// frame is an Ethernet frame that the network in the monitor has to look at closely.
func (h *hostile) frame() []byte {
	to := pick(h, everybody, gatewayMAC, h.bytes(6))
	switch h.IntN(8) {
	case 0:
		return append(append(append([]byte{}, to...), hostileMAC...), h.bytes(2+h.IntN(1600))...)
	case 1, 2: // ARP: who is, or I am
		p := append(append([]byte{}, to...), hostileMAC...)
		p = append(p, 8, 6, 0, 1, 8, 0, 6, 4, 0, pick(h, 1, 2, byte(h.Uint32())))
		p = append(append(p, hostileMAC...), hostileAddr...)
		return append(append(p, h.bytes(6)...), 10, 0, 2, byte(h.Uint32N(20)))
	case 3: // DHCP
		p := make([]byte, 236, 600)
		p[0], p[1], p[2] = 1, 1, 6
		copy(p[28:], hostileMAC)
		p = append(p, 0x63, 0x82, 0x53, 0x63, 53, 1, byte(h.Uint32N(9)))
		p = append(p, h.bytes(h.IntN(40))...)
		return h.ip(everybody, 17, []byte{255, 255, 255, 255}, append(h.ports(68, 67, len(p)+8), append(p, 255)...))
	}
	destination := pick(h, []byte{10, 0, 2, 2}, []byte{10, 0, 2, 3}, []byte{10, 0, 2, byte(h.Uint32())}, h.bytes(4))
	switch h.IntN(3) {
	case 0: // ICMP echo
		return h.ip(to, 1, destination, append([]byte{8, 0, 0, 0, 0, 1}, h.bytes(h.IntN(1400))...))
	case 1: // UDP, questions for the name server among it
		p := h.bytes(h.IntN(1400))
		return h.ip(to, 17, destination, append(h.ports(uint16(h.Uint32()), pick(h, 53, uint16(h.Uint32())), len(p)+8), p...))
	}
	p := binary.BigEndian.AppendUint16(nil, 1024+uint16(h.Uint32N(64)))
	p = binary.BigEndian.AppendUint16(p, uint16(h.Uint32()))
	p = append(p, h.bytes(8)...) // sequence numbers
	p = append(p, pick(h, 0x50, 0x60, 0xf0, byte(h.Uint32())), pick(h, 2, 2, 0x10, 0x18, 4, byte(h.Uint32())))
	return h.ip(to, 6, destination, append(p, h.bytes(6+h.IntN(1400))...))
}

// ports are the header of a datagram without a checksum.
func (h *hostile) ports(from, to uint16, length int) []byte {
	p := binary.BigEndian.AppendUint16(nil, from)
	p = binary.BigEndian.AppendUint16(p, to)
	p = binary.BigEndian.AppendUint16(p, uint16(length))
	return append(p, 0, 0)
}

// ip is an IPv4 packet in its frame, with a right checksum of its header.
func (h *hostile) ip(mac []byte, protocol byte, destination, payload []byte) []byte {
	p := append(append(append([]byte{}, mac...), hostileMAC...), 8, 0)
	header := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0}
	if h.chance(6) {
		header[0] = 0x40 | byte(h.Uint32N(16))
	}
	if h.chance(6) { // a fragment
		binary.BigEndian.PutUint16(header[6:], uint16(h.Uint32()))
	}
	binary.BigEndian.PutUint16(header[2:], pick(h, uint16(20+len(payload)), uint16(20+len(payload)), uint16(h.Uint32())))
	header = append(append(header, hostileAddr...), destination...)
	binary.BigEndian.PutUint16(header[10:], internetChecksum(header))
	return append(append(p, header...), payload...)
}

// internetChecksum is that of RFC 1071.
func internetChecksum(p []byte) uint16 {
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
