package dhcp

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"govmm/devices/virtio/netif"
)

// UDP ports of server and client (RFC 2131, 4.1).
const (
	ServerPort = 67
	ClientPort = 68
)

// The fixed part of a message (RFC 2131, section 2).
const (
	bootRequest = 1
	bootReply   = 2

	fixedSize  = 236 // before the cookie
	cookie     = 0x63825363
	broadcast  = 0x8000 // of flags
	minimum    = 300    // of a reply: some clients take none that is shorter than BOOTP's
	maxOptions = 1472   // bytes that are looked at
)

// Options (RFC 2132).
const (
	optPad         = 0
	optMask        = 1
	optRouter      = 3
	optDNS         = 6
	optHostname    = 12
	optMTU         = 26
	optBroadcast   = 28
	optRequested   = 50
	optLeaseTime   = 51
	optMessageType = 53
	optServer      = 54
	optRenewalTime = 58
	optRebindTime  = 59
	optEnd         = 255
)

// Message types (RFC 2132, 9.6).
const (
	discover = 1
	offer    = 2
	request  = 3
	decline  = 4
	ack      = 5
	nak      = 6
	release  = 7
	inform   = 8
)

var errNoRequest = errors.New("not a DHCP request")

// A message is what the server looks at of a client's message.
type message struct {
	kind      byte
	xid       uint32
	broadcast bool
	client    netip.Addr // ciaddr: the address that the client has
	hardware  netif.MAC
	requested netip.Addr // invalid if the option is not there
	server    netip.Addr // invalid if the option is not there
}

// parse reads a client's message.
func parse(p []byte) (m message, err error) {
	if len(p) < fixedSize+4 || p[0] != bootRequest || p[1] != 1 || p[2] != 6 ||
		binary.BigEndian.Uint32(p[fixedSize:]) != cookie {
		return m, errNoRequest
	}
	if [4]byte(p[24:28]) != [4]byte{} {
		return m, errNoRequest // came by a relay; there is none here
	}
	m.xid = binary.BigEndian.Uint32(p[4:])
	m.broadcast = binary.BigEndian.Uint16(p[10:])&broadcast != 0
	m.client = netip.AddrFrom4([4]byte(p[12:16]))
	m.hardware = netif.MAC(p[28:34])
	options := p[fixedSize+4:]
	options = options[:min(len(options), maxOptions)]
	for len(options) > 0 && options[0] != optEnd {
		if options[0] == optPad {
			options = options[1:]
			continue
		}
		if len(options) < 2 || len(options) < 2+int(options[1]) {
			return m, errNoRequest
		}
		m.option(options[0], options[2:2+int(options[1])])
		options = options[2+int(options[1]):]
	}
	if m.kind == 0 {
		return m, errNoRequest // BOOTP
	}
	return m, nil
}

func (m *message) option(code byte, value []byte) {
	switch {
	case code == optMessageType && len(value) == 1:
		m.kind = value[0]
	case code == optRequested && len(value) == 4:
		m.requested = netip.AddrFrom4([4]byte(value))
	case code == optServer && len(value) == 4:
		m.server = netip.AddrFrom4([4]byte(value))
	}
}
