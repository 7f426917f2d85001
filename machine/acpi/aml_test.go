package acpi

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// A PkgLength counts itself, so its own size decides where it grows (20.2.4).
func TestPkgLength(t *testing.T) {
	tests := []struct {
		body int
		want string // the bytes before the body
	}{
		{0, "01"},
		{1, "02"},
		{62, "3f"},            // 63 in all: the last that fits 6 bits
		{63, "4104"},          // 65
		{4093, "4fff"},        // 4095: the last that fits 12 bits
		{4094, "810001"},      // 4097
		{1<<20 - 4, "8fffff"}, // 2^20-1: the last that fits 20 bits
		{1<<20 - 3, "c1000001"},
	}
	for _, tt := range tests {
		body := bytes.Repeat([]byte{0xaa}, tt.body)
		got := amlSized(body)
		prefix := got[:len(got)-tt.body]
		if hex.EncodeToString(prefix) != tt.want || !bytes.HasSuffix(got, body) {
			t.Errorf("%d bytes: length is %x, want %s", tt.body, prefix, tt.want)
		}
		if n := decodePkgLength(got); n != len(got) {
			t.Errorf("%d bytes: length reads as %d, want %d", tt.body, n, len(got))
		}
	}
}

// decodePkgLength reads a PkgLength as 20.2.4 tells it.
func decodePkgLength(b []byte) int {
	follow := int(b[0] >> 6)
	if follow == 0 {
		return int(b[0] & 0x3f)
	}
	n := int(b[0] & 0xf)
	for i := range follow {
		n |= int(b[1+i]) << (4 + 8*i)
	}
	return n
}

func TestAML(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"Zero", amlInteger(0), "00"},
		{"One", amlInteger(1), "01"},
		{"byte", amlInteger(2), "0a02"},
		{"largest byte", amlInteger(0xff), "0aff"},
		{"word", amlInteger(0x100), "0b0001"},
		{"largest word", amlInteger(0xffff), "0bffff"},
		{"double word", amlInteger(0x10000), "0c00000100"},
		{"largest double word", amlInteger(0xffffffff), "0cffffffff"},
		{"quad word", amlInteger(0x100000000), "0e0000000001000000"},
		{"largest quad word", amlInteger(1<<64 - 1), "0effffffffffffffff"},
		{"string", amlString("AB"), "0d414200"},
		{"EISAID PNP0501", amlEISAID("PNP0501"), "0c41d00501"},
		{"EISAID PNP0B00", amlEISAID("PNP0B00"), "0c41d00b00"},
		{"path", amlPath("COM1"), "434f4d31"},
		{"short path", amlPath("RTC"), "5254435f"},
		{"root path", amlPath(`\_SB`), "5c5f53425f"},
		{"Name", amlName("_UID", amlInteger(1)), "085f55494401"},
		{"Package", amlPackage(amlInteger(5), amlInteger(0)), "1205020a0500"},
		{"Buffer", amlBuffer([]byte{7, 8, 9}), "11060a03070809"},
		{"Device", amlDevice("RTC", amlInteger(0)), "5b82065254435f00"},
		{"Scope", amlScope(`\_SB`, amlInteger(0), amlInteger(1)), "10085c5f53425f0001"},
		{"IO", ioPorts(0x3f8, 8), "4701f803f8030108"},
		{"IRQNoFlags", isaInterrupt(4), "221000"},
		{"IRQNoFlags 15", isaInterrupt(15), "220080"},
		{"Memory32Fixed", memory32(0xd0000000, 0x1000), "86090001000000d000100000"},
		{"Interrupt", gsiEdge(17), "890600030111000000"},
		{"ResourceTemplate", resources(isaInterrupt(4)), "11080a052210007900"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
