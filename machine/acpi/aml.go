package acpi

import (
	"bytes"
	"math/bits"
	"strconv"
	"strings"
)

// This file encodes the few terms of the ACPI Machine Language (chapter 20) that
// a table of declarations needs. Each function returns one encoded term; a term
// with others inside takes them encoded. Names and strings are constants of this
// package, so nothing here checks them.

// Encodings (20.3).
const (
	opZero        = 0x00
	opOne         = 0x01
	opName        = 0x08
	opBytePrefix  = 0x0a
	opWordPrefix  = 0x0b
	opDWordPrefix = 0x0c
	opString      = 0x0d
	opQWordPrefix = 0x0e
	opScope       = 0x10
	opBuffer      = 0x11
	opPackage     = 0x12
	opExtPrefix   = 0x5b
	opDevice      = 0x82 // after opExtPrefix
)

// amlPath returns a name: up to 4 characters, padded with underscores, after a
// backslash if it starts at the root of the namespace (20.2.2).
func amlPath(path string) []byte {
	root, seg := "", path
	if strings.HasPrefix(path, `\`) {
		root, seg = path[:1], path[1:]
	}
	return []byte(root + seg + "____"[len(seg):])
}

// amlName gives a name to an object: Name (path, value) (20.2.5.1).
func amlName(path string, value []byte) []byte {
	return concat([]byte{opName}, amlPath(path), value)
}

// amlScope opens a scope that exists: Scope (path) { terms } (20.2.5.1).
func amlScope(path string, terms ...[]byte) []byte {
	return concat([]byte{opScope}, amlSized(amlPath(path), concat(terms...)))
}

// amlDevice declares a device: Device (name) { terms } (20.2.5.2).
func amlDevice(name string, terms ...[]byte) []byte {
	return concat([]byte{opExtPrefix, opDevice}, amlSized(amlPath(name), concat(terms...)))
}

// amlPackage is a list of at most 255 objects: Package () { elements } (20.2.5.4).
func amlPackage(elements ...[]byte) []byte {
	return concat([]byte{opPackage}, amlSized([]byte{uint8(len(elements))}, concat(elements...)))
}

// amlBuffer is an array of bytes: Buffer () { data } (20.2.5.4).
func amlBuffer(data []byte) []byte {
	return concat([]byte{opBuffer}, amlSized(amlInteger(uint64(len(data))), data))
}

// amlString is a string of ASCII characters (20.2.3).
func amlString(s string) []byte {
	return concat([]byte{opString}, []byte(s), []byte{0})
}

// amlInteger is a number in the shortest encoding that holds it (20.2.3).
func amlInteger(v uint64) []byte {
	switch {
	case v == 0:
		return []byte{opZero}
	case v == 1:
		return []byte{opOne}
	case v < 1<<8:
		return encode(uint8(opBytePrefix), uint8(v))
	case v < 1<<16:
		return encode(uint8(opWordPrefix), uint16(v))
	case v < 1<<32:
		return encode(uint8(opDWordPrefix), uint32(v))
	default:
		return encode(uint8(opQWordPrefix), v)
	}
}

// amlEISAID is a Plug and Play id of three capital letters and four hexadecimal
// digits, such as PNP0501, as a number: 5 bits a letter and 4 bits a digit, with
// the most significant byte first in memory (19.6, EISAID).
func amlEISAID(id string) []byte {
	var v uint32
	for _, letter := range id[:3] {
		v = v<<5 | uint32(letter-'@') // A is 1
	}
	digits, _ := strconv.ParseUint(id[3:], 16, 16)
	return amlInteger(uint64(bits.ReverseBytes32(v<<16 | uint32(digits))))
}

// amlSized puts a PkgLength before what it counts (20.2.4). The length includes
// itself. It has one byte up to 63; a longer one has 4 bits in the first byte,
// next to the number of bytes that follow, and 8 in each of these.
func amlSized(parts ...[]byte) []byte {
	body := concat(parts...)
	if n := len(body) + 1; n < 1<<6 {
		return concat([]byte{uint8(n)}, body)
	}
	follow := 1
	for len(body)+1+follow >= 1<<(4+8*follow) {
		follow++ // 3 at most: the limits of Config keep a table far below 256 MiB
	}
	n := len(body) + 1 + follow
	length := []byte{uint8(follow<<6 | n&0xf)}
	for n >>= 4; follow > 0; follow-- {
		length = append(length, uint8(n))
		n >>= 8
	}
	return concat(length, body)
}

func concat(parts ...[]byte) []byte {
	return bytes.Join(parts, nil)
}
