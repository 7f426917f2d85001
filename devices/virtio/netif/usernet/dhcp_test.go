package usernet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var anyAddr = netip.IPv4Unspecified()

// options joins what appendOption makes of code and value pairs.
func options(list ...any) (p []byte) {
	for i := 0; i < len(list); i += 2 {
		p = appendOption(p, byte(list[i].(int)), list[i+1].([]byte))
	}
	return p
}

// TestDHCPClients plays what clients send, as far as it differs: the order and the number of options, where they are
// put, and the flags.
func TestDHCPClients(t *testing.T) {
	guest, server := []byte{10, 0, 2, 15}, []byte{10, 0, 2, 2}
	other := []byte{192, 168, 1, 9}
	id := append([]byte{1}, guestMAC[:]...)
	for _, c := range []struct {
		name    string
		kind    byte
		options []byte
		edit    func(message []byte)
		answer  byte
		dst     mac
		addr    string
	}{
		// Linux, net/ipv4/ipconfig.c: the server and the address come before the list of wishes.
		{"ip=dhcp discover", dhcpDiscover, options(55, []byte{1, 3, 6, 12, 15, 17, 26, 40, 42}), nil, dhcpOffer, guestMAC, "10.0.2.15"},
		{"ip=dhcp request", dhcpRequest, options(54, server, 50, guest, 55, []byte{1, 3, 6, 12, 15, 17, 26, 40, 42}), nil, dhcpACK, guestMAC, "10.0.2.15"},
		// BusyBox: a client identifier, the largest message, a vendor.
		{"udhcpc discover", dhcpDiscover, options(61, id, 57, []byte{2, 64}, 55, []byte{1, 3, 6, 12, 15, 28, 42}, 60, []byte("udhcp 1.36.1")), nil, dhcpOffer, guestMAC, "10.0.2.15"},
		{"udhcpc -B", dhcpDiscover, options(61, id, 57, []byte{2, 64}), func(p []byte) { p[10] = 0x80 }, dhcpOffer, broadcastMAC, "255.255.255.255"},
		{"udhcpc renew", dhcpRequest, options(61, id), func(p []byte) { copy(p[12:], guest) }, dhcpACK, guestMAC, "10.0.2.15"},
		// ISC: asks for the address of last time, first by a discover, then without naming a server.
		{"dhclient discover", dhcpDiscover, options(50, other, 12, []byte("vm"), 55, []byte{1, 28, 2, 3, 15, 6, 119, 12}), nil, dhcpOffer, guestMAC, "10.0.2.15"},
		{"dhclient reboot", dhcpRequest, options(50, guest, 12, []byte("vm")), nil, dhcpACK, guestMAC, "10.0.2.15"},
		{"dhclient from elsewhere", dhcpRequest, options(50, other), nil, dhcpNAK, broadcastMAC, "255.255.255.255"},
		// u-root: the wishes first.
		{"u-root request", dhcpRequest, options(55, []byte{1, 3, 15, 6}, 57, []byte{5, 220}, 50, guest, 54, server), nil, dhcpACK, guestMAC, "10.0.2.15"},
		{"another server's", dhcpRequest, options(54, other, 50, guest), nil, 0, mac{}, ""},
		{"rebind from elsewhere", dhcpRequest, nil, func(p []byte) { copy(p[12:], other) }, dhcpNAK, broadcastMAC, "255.255.255.255"},
		{"inform", dhcpInform, nil, func(p []byte) { copy(p[12:], []byte{10, 0, 2, 20}) }, dhcpACK, guestMAC, "10.0.2.20"},
		{"release", dhcpRelease, options(54, server), func(p []byte) { copy(p[12:], guest) }, 0, mac{}, ""},
		{"decline", dhcpDecline, options(54, server, 50, guest), nil, 0, mac{}, ""},
		{"by a relay", dhcpDiscover, nil, func(p []byte) { p[24] = 10 }, 0, mac{}, ""},
	} {
		b := newBackend(t, Config{MTU: 9000, Hostname: "vm-1"})
		message := clientMessage(c.kind, c.options...)
		if c.edit != nil {
			c.edit(message)
		}
		a, ok := exchange(b.Pair(0), clientFrame(anyAddr, message))
		if c.answer == 0 {
			if ok {
				t.Errorf("%s: answer of type %d", c.name, a.kind())
			}
			continue
		}
		if !ok || a.kind() != c.answer || a.dst != c.dst || a.addr.String() != c.addr || !bytes.Equal(a.options[optServer], server) {
			t.Errorf("%s: answer of type %d to %x, %v", c.name, a.kind(), a.dst, a.addr)
		}
		lease := c.answer != dhcpNAK && c.kind != dhcpInform
		if (a.yours == b.cfg.Guest) != lease || (len(a.options[optLeaseTime]) == 4) != lease {
			t.Errorf("%s: address %v for %x", c.name, a.yours, a.options[optLeaseTime])
		}
		if c.answer == dhcpNAK {
			continue
		}
		for code, want := range map[byte][]byte{
			optMask: {255, 255, 255, 0}, optRouter: server, optDNS: {10, 0, 2, 3}, optHostname: []byte("vm-1"),
			optBroadcast: {10, 0, 2, 255}, optMTU: binary.BigEndian.AppendUint16(nil, 9000),
		} {
			if !bytes.Equal(a.options[code], want) {
				t.Errorf("%s: option %d is %v, want %v", c.name, code, a.options[code], want)
			}
		}
	}
}

func TestDHCPNetwork(t *testing.T) {
	b := newBackend(t, Config{Network: netip.MustParsePrefix("192.168.200.128/26")})
	a, ok := exchange(b.Pair(0), clientFrame(anyAddr, clientMessage(dhcpDiscover)))
	if !ok || a.yours.String() != "192.168.200.143" || !bytes.Equal(a.options[optRouter], []byte{192, 168, 200, 130}) ||
		!bytes.Equal(a.options[optMask], []byte{255, 255, 255, 192}) || !bytes.Equal(a.options[optBroadcast], []byte{192, 168, 200, 191}) {
		t.Errorf("%+v", a)
	}
}

// FuzzDHCP holds that a message is refused or answered by one that a client can read.
func FuzzDHCP(f *testing.F) {
	f.Add(clientMessage(dhcpDiscover))
	f.Add(clientMessage(dhcpRequest, options(50, []byte{10, 0, 2, 15}, 54, []byte{10, 0, 2, 2})...))
	f.Add(clientMessage(dhcpInform, 0, 0, 255))
	f.Add(clientMessage(dhcpRequest, 50, 200))
	f.Add(make([]byte, dhcpFixedSize+4))
	var cfg Config
	cfg.complete()
	s := newDHCPServer(&cfg)
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := parseDHCP(p)
		if err != nil {
			return
		}
		kind := s.answer(&m)
		if kind == 0 {
			return
		}
		reply := s.reply(&m, kind)
		if len(reply) < dhcpMinimum || len(reply) > 576-28 || [4]byte(reply[4:8]) != [4]byte(p[4:8]) || mac(reply[28:34]) != mac(p[28:34]) {
			t.Errorf("reply %x to %x", reply, p)
		}
		s.destination(&m, kind)
	})
}
