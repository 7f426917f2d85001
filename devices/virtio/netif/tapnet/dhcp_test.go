package tapnet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	nowhere  = netip.IPv4Unspecified()
	everyone = netip.MustParseAddr("255.255.255.255")
)

// dhcpMessage is a client's (RFC 2131, section 2), with the address that it has and options.
func dhcpMessage(has netip.Addr, options ...byte) string {
	p := make([]byte, 236)
	p[0], p[1], p[2], p[7] = 1, 1, 6, 9
	copy(p[12:], has.AsSlice())
	copy(p[28:], guestMAC)
	p = binary.BigEndian.AppendUint32(p, 0x63825363)
	return string(append(append(p, options...), 255))
}

// isAnswer takes what a DHCP server sends to the client with the address to.
func isAnswer(to netip.Addr) func([]byte) bool {
	return func(f []byte) bool {
		return isUDP(f) && bytes.Equal(f[30:34], to.AsSlice()) && f[35] == 67 && f[37] == 68
	}
}

// TestDHCP gets an address by discovery and request, which come from nowhere and go to everybody, and renews it from the address itself.
func TestDHCP(t *testing.T) {
	n := newNetwork(t, Options{Routed: true})
	guest, gateway := n.Guest()
	toServer := [4]byte{0, 68, 0, 67}
	everyoneMAC := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	yours := func(to netip.Addr) netip.Addr {
		t.Helper()
		f := receive(t, n, isAnswer(to))
		if got := netip.AddrFrom4([4]byte(f[26:30])); got != gateway {
			t.Errorf("the answer came from %v, want %v", got, gateway)
		}
		return netip.AddrFrom4([4]byte(f[42+16:]))
	}

	send(t, n, udp(guestMAC, everyoneMAC, nowhere, everyone, toServer, dhcpMessage(nowhere, 53, 1, 1)))
	if got := yours(everyone); got != guest.Addr() {
		t.Errorf("offered %v, want %v", got, guest)
	}
	wanted := append([]byte{53, 1, 3, 50, 4}, guest.Addr().AsSlice()...)
	send(t, n, udp(guestMAC, everyoneMAC, nowhere, everyone, toServer, dhcpMessage(nowhere, wanted...)))
	if got := yours(everyone); got != guest.Addr() {
		t.Errorf("got %v, want %v", got, guest)
	}

	send(t, n, udp(guestMAC, hostMAC(t, n, guest.Addr(), gateway), guest.Addr(), gateway, toServer, dhcpMessage(guest.Addr(), 53, 1, 3)))
	if got := yours(guest.Addr()); got != guest.Addr() {
		t.Errorf("renewed %v, want %v", got, guest)
	}
}

// hostMAC asks for the gateway's address, by which the host learns the guest's.
func hostMAC(t *testing.T, n *Network, from, gateway netip.Addr) []byte {
	t.Helper()
	send(t, n, arp(guestMAC, from, nil, gateway))
	return bytes.Clone(receive(t, n, isARP(2, gateway))[6:12])
}

// TestDHCPPortTaken holds that a routed tap works where another server has the port: its user is told the address.
func TestDHCPPortTaken(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 67}); err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, Options{Routed: true})
	if n.routed.dhcp != nil {
		t.Error("the port is another's")
	}
	if address, _ := n.Guest(); !address.IsValid() {
		t.Error("no address")
	}
}
