package netif

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
)

// A MAC is an Ethernet address. It is not package net's, so that the monitor does not need that package.
type MAC [6]byte

// DeriveMAC returns a locally administered address that is always the same for the same name and
// number, such as a machine's and that of its network device. Different ones give the same address by
// chance only, once in 2^46.
func DeriveMAC(name string, number int) MAC {
	h := fnv.New128a()
	h.Write([]byte(name))
	h.Write(binary.LittleEndian.AppendUint64([]byte{0}, uint64(number)))
	var m MAC
	copy(m[:], h.Sum(nil)[8:])
	m[0] = m[0]&^groupBit | localBit
	return m
}

// Bits of an address's first byte (IEEE 802, 8.2).
const (
	groupBit = 1
	localBit = 2
)

// individual reports whether m can be an interface's own address.
func (m MAC) individual() bool { return m != MAC{} && m[0]&groupBit == 0 }

// String returns m as six pairs of hexadecimal digits with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// ParseMAC returns the address that String writes as s, with digits in either case.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 {
		return m, fmt.Errorf("%q is not a MAC address such as 02:00:00:00:00:01", s)
	}
	for i := range m {
		v, err := strconv.ParseUint(s[3*i:3*i+2], 16, 8)
		if err != nil || i > 0 && s[3*i-1] != ':' {
			return MAC{}, fmt.Errorf("%q is not a MAC address such as 02:00:00:00:00:01", s)
		}
		m[i] = byte(v)
	}
	return m, nil
}
