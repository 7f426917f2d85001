package netif

import "encoding/binary"

// Fields of struct virtio_net_hdr that the driver writes (5.1.6).
const (
	headerGSOType = 1
	headerGSOSize = 4

	flagNeedsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM

	gsoNone  = 0 // VIRTIO_NET_HDR_GSO_NONE
	gsoTCPv4 = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	gsoTCPv6 = 4 // VIRTIO_NET_HDR_GSO_TCPV6

	// minSegment is the least data of a segment: of what Linux sends by TCP (net.ipv4.tcp_min_snd_mss). With less one frame would become tens of thousands.
	minSegment = 48
)

// known is what the headers of a driver's frames may ask for.
type known struct {
	checksum, tcpv4, tcpv6 bool
}

func knownOf(features uint64) known {
	return known{features&featureChecksum != 0, features&featureHostTSO4 != 0, features&featureHostTSO6 != 0}
}

// check reports whether a header asks for nothing that was not negotiated (5.1.6.2.1). Flags that are not known are removed, for the device is to ignore them (5.1.6.2.2).
func (k known) check(h *[HeaderSize]byte) bool {
	if !k.checksum {
		h[headerFlags] = 0
	}
	h[headerFlags] &= flagNeedsChecksum
	switch h[headerGSOType] {
	case gsoNone:
		return true
	case gsoTCPv4:
		return k.tcpv4 && segments(h)
	case gsoTCPv6:
		return k.tcpv6 && segments(h)
	}
	return false
}

func segments(h *[HeaderSize]byte) bool {
	return binary.LittleEndian.Uint16(h[headerGSOSize:]) >= minSegment
}
