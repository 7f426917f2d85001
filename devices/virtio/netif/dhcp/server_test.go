package dhcp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"govmm/devices/virtio/netif"
)

var guestMAC = netif.MAC{0x52, 0x54, 0, 1, 2, 3}

func testConfig() Config {
	return Config{
		Guest: netip.MustParseAddr("10.0.2.15"), Network: netip.MustParsePrefix("10.0.2.0/24"), Gateway: netip.MustParseAddr("10.0.2.2"),
		DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")}, MTU: 9000, Hostname: "vm-1",
	}
}

// clientMessage returns a message as clients send them, padded as most do.
func clientMessage(kind byte, options ...byte) []byte {
	p := make([]byte, fixedSize, 400)
	p[0], p[1], p[2] = bootRequest, 1, 6
	binary.BigEndian.PutUint32(p[4:], 0x12345678)
	copy(p[28:], guestMAC[:])
	p = binary.BigEndian.AppendUint32(p, cookie)
	p = append(p, optMessageType, 1, kind)
	p = append(append(p, options...), optEnd)
	return append(p, make([]byte, max(0, 300-len(p)))...)
}

// options joins what appendOption makes of code and value pairs.
func options(list ...any) (p []byte) {
	for i := 0; i < len(list); i += 2 {
		p = appendOption(p, byte(list[i].(int)), list[i+1].([]byte))
	}
	return p
}

// optionsOf reads the options of an answer.
func optionsOf(message []byte) map[byte][]byte {
	all := map[byte][]byte{}
	for o := message[fixedSize+4:]; len(o) > 1 && o[0] != optEnd; o = o[2+int(o[1]):] {
		all[o[0]] = o[2 : 2+int(o[1])]
	}
	return all
}

// TestClients plays what clients send, as far as it differs: the order and the number of options, where they are
// put, and the flags.
func TestClients(t *testing.T) {
	guest, server := []byte{10, 0, 2, 15}, []byte{10, 0, 2, 2}
	other := []byte{192, 168, 1, 9}
	id := append([]byte{1}, guestMAC[:]...)
	for _, c := range []struct {
		name    string
		kind    byte
		options []byte
		edit    func(message []byte)
		answer  byte
		dst     netif.MAC
		addr    string
	}{
		// Linux, net/ipv4/ipconfig.c: the server and the address come before the list of wishes.
		{"ip=dhcp discover", discover, options(55, []byte{1, 3, 6, 12, 15, 17, 26, 40, 42}), nil, offer, guestMAC, "10.0.2.15"},
		{"ip=dhcp request", request, options(54, server, 50, guest, 55, []byte{1, 3, 6, 12, 15, 17, 26, 40, 42}), nil, ack, guestMAC, "10.0.2.15"},
		// BusyBox: a client identifier, the largest message, a vendor.
		{"udhcpc discover", discover, options(61, id, 57, []byte{2, 64}, 55, []byte{1, 3, 6, 12, 15, 28, 42}, 60, []byte("udhcp 1.36.1")), nil, offer, guestMAC, "10.0.2.15"},
		{"udhcpc -B", discover, options(61, id, 57, []byte{2, 64}), func(p []byte) { p[10] = 0x80 }, offer, everyoneMAC, "255.255.255.255"},
		{"udhcpc renew", request, options(61, id), func(p []byte) { copy(p[12:], guest) }, ack, guestMAC, "10.0.2.15"},
		// ISC: asks for the address of last time, first by a discover, then without naming a server.
		{"dhclient discover", discover, options(50, other, 12, []byte("vm"), 55, []byte{1, 28, 2, 3, 15, 6, 119, 12}), nil, offer, guestMAC, "10.0.2.15"},
		{"dhclient reboot", request, options(50, guest, 12, []byte("vm")), nil, ack, guestMAC, "10.0.2.15"},
		{"dhclient from elsewhere", request, options(50, other), nil, nak, everyoneMAC, "255.255.255.255"},
		// u-root: the wishes first.
		{"u-root request", request, options(55, []byte{1, 3, 15, 6}, 57, []byte{5, 220}, 50, guest, 54, server), nil, ack, guestMAC, "10.0.2.15"},
		{"another server's", request, options(54, other, 50, guest), nil, 0, netif.MAC{}, ""},
		{"rebind from elsewhere", request, nil, func(p []byte) { copy(p[12:], other) }, nak, everyoneMAC, "255.255.255.255"},
		{"inform", inform, nil, func(p []byte) { copy(p[12:], []byte{10, 0, 2, 20}) }, ack, guestMAC, "10.0.2.20"},
		{"release", release, options(54, server), func(p []byte) { copy(p[12:], guest) }, 0, netif.MAC{}, ""},
		{"decline", decline, options(54, server, 50, guest), nil, 0, netif.MAC{}, ""},
		{"by a relay", discover, nil, func(p []byte) { p[24] = 10 }, 0, netif.MAC{}, ""},
	} {
		s := New(testConfig())
		message := clientMessage(c.kind, c.options...)
		if c.edit != nil {
			c.edit(message)
		}
		a, ok := s.Answer(message)
		if c.answer == 0 {
			if ok {
				t.Errorf("%s: answer %x", c.name, a.Message)
			}
			continue
		}
		if !ok {
			t.Errorf("%s: no answer", c.name)
			continue
		}
		got := optionsOf(a.Message)
		if kind := got[optMessageType]; !bytes.Equal(kind, []byte{c.answer}) || a.Hardware != c.dst || a.Addr.String() != c.addr || !bytes.Equal(got[optServer], server) {
			t.Errorf("%s: answer of type %d to %x, %v", c.name, kind, a.Hardware, a.Addr)
		}
		lease := c.answer != nak && c.kind != inform
		if yours := a.Message[16:20]; bytes.Equal(yours, guest) != lease || (len(got[optLeaseTime]) == 4) != lease {
			t.Errorf("%s: address %v for %x", c.name, yours, got[optLeaseTime])
		}
		if c.answer == nak {
			continue
		}
		for code, want := range map[byte][]byte{
			optMask: {255, 255, 255, 0}, optRouter: server, optDNS: {10, 0, 2, 3}, optHostname: []byte("vm-1"),
			optBroadcast: {10, 0, 2, 255}, optMTU: binary.BigEndian.AppendUint16(nil, 9000),
		} {
			if !bytes.Equal(got[code], want) {
				t.Errorf("%s: option %d is %v, want %v", c.name, code, got[code], want)
			}
		}
	}
}

// TestWhatIsNotTold holds that options without a value are left out, for some clients take an empty one for an address.
func TestWhatIsNotTold(t *testing.T) {
	c := testConfig()
	c.DNS, c.MTU, c.Hostname = nil, 0, ""
	c.Network = netip.MustParsePrefix("10.0.2.12/30")
	a, ok := New(c).Answer(clientMessage(discover))
	if !ok {
		t.Fatal("no answer")
	}
	got := optionsOf(a.Message)
	for _, code := range []byte{optDNS, optMTU, optHostname} {
		if _, told := got[code]; told {
			t.Errorf("option %d is told", code)
		}
	}
	if !bytes.Equal(got[optMask], []byte{255, 255, 255, 252}) || !bytes.Equal(got[optBroadcast], []byte{10, 0, 2, 15}) {
		t.Errorf("mask %v, broadcast %v", got[optMask], got[optBroadcast])
	}
}

// FuzzDHCP holds that a message is refused or answered by one that a client can read.
func FuzzDHCP(f *testing.F) {
	f.Add(clientMessage(discover))
	f.Add(clientMessage(request, options(50, []byte{10, 0, 2, 15}, 54, []byte{10, 0, 2, 2})...))
	f.Add(clientMessage(inform, 0, 0, 255))
	f.Add(clientMessage(request, 50, 200))
	f.Add(make([]byte, fixedSize+4))
	s := New(testConfig())
	f.Fuzz(func(t *testing.T, p []byte) {
		a, ok := s.Answer(p)
		if !ok {
			return
		}
		reply := a.Message
		if len(reply) < minimum || len(reply) > 576-28 || [4]byte(reply[4:8]) != [4]byte(p[4:8]) || [6]byte(reply[28:34]) != [6]byte(p[28:34]) {
			t.Errorf("reply %x to %x", reply, p)
		}
	})
}
