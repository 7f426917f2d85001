package usernet

import (
	"encoding/binary"

	"govmm/devices/virtio/netif"
)

// struct virtio_net_hdr (5.1.6): offsets and values.
const (
	hdrFlags      = 0
	hdrGSOType    = 1
	hdrHdrLen     = 2
	hdrGSOSize    = 4
	hdrCsumStart  = 6
	hdrCsumOffset = 8

	needsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	dataValid = 2 // VIRTIO_NET_HDR_F_DATA_VALID

	gsoNone  = 0 // VIRTIO_NET_HDR_GSO_NONE
	gsoTCPv4 = 1 // VIRTIO_NET_HDR_GSO_TCPV4
)

// Ethernet II.
const (
	etherSize  = 14
	typeIPv4   = 0x0800
	typeARP    = 0x0806
	prefixSize = netif.HeaderSize + etherSize // what stands before the packet
)

type mac [6]byte

var (
	broadcastMAC = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	// hostMAC is the gateway's and the name server's address, as in QEMU: locally administered (bit 1).
	hostMAC = mac{0x52, 0x55, 0x0a, 0x00, 0x02, 0x02}
)

// validSend reports whether h, the header of a frame of length bytes that the driver sent, makes sense. No more is needed
// of it: TCP here takes segments of any size, and checksums that are not filled in yet need no check, as
// nothing comes between the two memories.
func validSend(h []byte, length int) bool {
	needs := h[hdrFlags]&needsCsum != 0
	if needs {
		start, offset := int(binary.LittleEndian.Uint16(h[hdrCsumStart:])), int(binary.LittleEndian.Uint16(h[hdrCsumOffset:]))
		if start < etherSize || start+offset+2 > length {
			return false
		}
	}
	switch h[hdrGSOType] {
	case gsoNone:
		return true
	case gsoTCPv4:
		return needs && binary.LittleEndian.Uint16(h[hdrGSOSize:]) != 0
	}
	return false // was not offered
}

// putEther writes an Ethernet header.
func putEther(p []byte, dst, src mac, etherType uint16) {
	copy(p, dst[:])
	copy(p[6:], src[:])
	binary.BigEndian.PutUint16(p[12:], etherType)
}

// noOffloads is the header of a frame that needs none.
var noOffloads [netif.HeaderSize]byte
