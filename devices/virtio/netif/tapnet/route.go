package tapnet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	routesFile = "/proc/net/route"
	maxRoutes  = 1 << 20 // bytes that are read of it

	// prefixBits leaves two addresses, besides those of the network and for broadcasts.
	prefixBits = 30
)

// pool is where networks for guests are taken from: a private range (RFC 1918) that no common default of others is in.
var pool = netip.MustParsePrefix("10.213.0.0/16")

// A routed is the host's side of a routed tap.
type routed struct {
	tap     iface
	network netip.Prefix
	dhcp    *dhcpServer // nil if another program has the port
}

func (r *routed) host() netip.Addr    { return r.network.Addr().Next() }
func (r *routed) guest() netip.Prefix { return netip.PrefixFrom(r.host().Next(), prefixBits) }

// route gives the tap an address and makes the host route and masquerade what comes from it.
func route(name string, log *slog.Logger) (*routed, error) {
	used, err := routes()
	if err != nil {
		return nil, err
	}
	network, err := choose(used, number(name))
	if err != nil {
		return nil, err
	}
	r := &routed{tap: iface(name), network: network}
	// A host that has no IPv6 has no such file.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	mask := netip.AddrFrom4([4]byte{255, 255, 255, 256 - 1<<(32-prefixBits)})
	for _, step := range []func() error{
		func() error { return r.tap.setAddress(unix.SIOCSIFADDR, r.host()) },
		func() error { return r.tap.setAddress(unix.SIOCSIFNETMASK, mask) },
		r.tap.up,
		func() error { return locked(r.masquerade, forward) },
	} {
		if err := step(); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	if r.dhcp, err = r.serveDHCP(log); err != nil {
		log.Warn("no DHCP: the guest must be given its address", "tap", name, "address", r.guest(), "gateway", r.host(), "err", err)
	}
	return r, nil
}

// close undoes what is not undone with the tap.
func (r *routed) close() error {
	r.stopServing()
	return locked(func() error { return unmasquerade(r.tap) }, unforward)
}

func (r *routed) stopServing() {
	if r.dhcp != nil {
		r.dhcp.close()
		r.dhcp = nil
	}
}

// number returns the number at the end of a tap's name, which no other tap has at the time.
func number(name string) int {
	n, err := strconv.Atoi(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// choose returns a network of the pool that overlaps none of used: number n, or one of those that follow.
func choose(used []netip.Prefix, n int) (netip.Prefix, error) {
	const count = 1 << (prefixBits - 16)
	base := pool.Addr().As4()
	for i := range count {
		a := base
		binary.BigEndian.PutUint16(a[2:], uint16((n+i)%count<<(32-prefixBits)))
		p := netip.PrefixFrom(netip.AddrFrom4(a), prefixBits)
		free := true
		for _, u := range used {
			// A default route is no reason.
			free = free && (u.Bits() == 0 || !u.Overlaps(p))
		}
		if free {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("all of %v is in use", pool)
}

// routes returns the destinations in the host's main table.
func routes() ([]netip.Prefix, error) {
	f, err := os.Open(routesFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseRoutes(io.LimitReader(f, maxRoutes))
}

// parseRoutes reads the kernel's table: a line of names, and then lines with destination and mask as the second and the eighth
// word, hexadecimal, in the order of the host's bytes.
func parseRoutes(r io.Reader) ([]netip.Prefix, error) {
	var all []netip.Prefix
	s := bufio.NewScanner(r)
	for first := true; s.Scan(); first = false {
		if first {
			continue
		}
		words := strings.Fields(s.Text())
		if len(words) < 8 {
			return nil, fmt.Errorf("%s: %q is not a route", routesFile, s.Text())
		}
		destination, err1 := parseAddress(words[1])
		mask, err2 := parseAddress(words[7])
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %w", routesFile, err)
		}
		bits := 0
		for m := binary.BigEndian.Uint32(mask[:]); m&(1<<31) != 0; m <<= 1 {
			bits++
		}
		all = append(all, netip.PrefixFrom(netip.AddrFrom4(destination), bits).Masked())
	}
	return all, s.Err()
}

func parseAddress(s string) (a [4]byte, err error) {
	v, err := strconv.ParseUint(s, 16, 32)
	binary.NativeEndian.PutUint32(a[:], uint32(v))
	return a, err
}
