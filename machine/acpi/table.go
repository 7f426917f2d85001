package acpi

import "encoding/binary"

// Who made the tables. The OEM table id of XSDT and FADT must be the same (5.2.8,
// 5.2.9), so all tables have the same.
var (
	oemID      = [6]byte{'G', 'O', 'V', 'M', 'M', ' '}
	oemTableID = [8]byte{'G', 'O', 'V', 'M', 'M', ' ', ' ', ' '}
	creatorID  = [4]byte{'G', 'O', 'V', 'M'}
)

// A header is at the start of every table but the RSDP and the FACS (5.2.6).
type header struct {
	Signature       [4]byte
	Length          uint32 // of the whole table
	Revision        uint8
	Checksum        uint8
	OEMID           [6]byte
	OEMTableID      [8]byte
	OEMRevision     uint32
	CreatorID       [4]byte
	CreatorRevision uint32
}

// Offsets in a header.
const (
	lengthOffset   = 4
	checksumOffset = 9
)

// table returns a table: its header and then the parts of its body, which are
// values that package binary can encode.
func table(signature string, revision uint8, body ...any) []byte {
	h := header{
		Revision:        revision,
		OEMID:           oemID,
		OEMTableID:      oemTableID,
		OEMRevision:     1,
		CreatorID:       creatorID,
		CreatorRevision: 1,
	}
	copy(h.Signature[:], signature)
	t := encode(append([]any{h}, body...)...)
	binary.LittleEndian.PutUint32(t[lengthOffset:], uint32(len(t)))
	t[checksumOffset] = checksum(t)
	return t
}

// An rsdpTable is the Root System Description Pointer (5.2.5.3).
type rsdpTable struct {
	Signature        [8]byte
	Checksum         uint8 // of what ACPI 1.0 knew: all up to RSDTAddress
	OEMID            [6]byte
	Revision         uint8
	RSDTAddress      uint32
	Length           uint32
	XSDTAddress      uint64
	ExtendedChecksum uint8 // of everything
	_                [3]byte
}

const (
	rsdpSize                   = 36
	rsdpSizeACPI1              = 20
	rsdpChecksumOffset         = 8
	rsdpExtendedChecksumOffset = 32
)

// rsdp returns the RSDP. There is no RSDT, the list with 32-bit addresses: only
// systems older than ACPI 2.0 need it.
func rsdp(xsdt uint64) []byte {
	t := encode(rsdpTable{
		Signature:   [8]byte{'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
		OEMID:       oemID,
		Revision:    2,
		Length:      rsdpSize,
		XSDTAddress: xsdt,
	})
	t[rsdpChecksumOffset] = checksum(t[:rsdpSizeACPI1])
	t[rsdpExtendedChecksumOffset] = checksum(t)
	return t
}

// xsdt returns the Extended System Description Table, the list of all tables that
// no other table points to (5.2.8).
func xsdt(tables ...uint64) []byte {
	return table("XSDT", 1, tables)
}

// checksum returns the byte that makes the sum of all bytes of t zero, if the
// place where it goes is zero now.
func checksum(t []byte) uint8 {
	var sum uint8
	for _, b := range t {
		sum += b
	}
	return -sum
}

// encode returns the values one after the other, little-endian and without
// padding, as ACPI stores everything (5.2). A struct of this package so has the
// layout that the specification's table gives.
func encode(values ...any) []byte {
	var b []byte
	for _, v := range values {
		var err error
		if b, err = binary.Append(b, binary.LittleEndian, v); err != nil {
			panic(err) // v has no fixed size: a mistake in this package
		}
	}
	return b
}
