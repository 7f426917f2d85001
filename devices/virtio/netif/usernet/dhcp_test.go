package usernet

import (
	"bytes"
	"net/netip"
	"testing"
)

var anyAddr = netip.IPv4Unspecified()

// TestDHCPNetwork gets an address of a network that is not the usual one, by frames; package dhcp tests what is in them.
func TestDHCPNetwork(t *testing.T) {
	b := newBackend(t, Config{Network: netip.MustParsePrefix("192.168.200.128/26")})
	message := clientMessage(dhcpDiscover)
	a, ok := exchange(b.Pair(0), clientFrame(anyAddr, message))
	if !ok || a.yours.String() != "192.168.200.143" || !bytes.Equal(a.options[optServer], []byte{192, 168, 200, 130}) ||
		a.dst != guestMAC || a.addr != a.yours {
		t.Errorf("%+v", a)
	}
	message[10] = 0x80 // to be broadcast
	if a, ok = exchange(b.Pair(0), clientFrame(anyAddr, message)); !ok || a.dst != broadcastMAC || a.addr.String() != "255.255.255.255" {
		t.Errorf("%+v", a)
	}
}
