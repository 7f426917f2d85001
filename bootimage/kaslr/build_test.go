package kaslr

import (
	"encoding/binary"
	"testing"
)

const (
	testVirt = 0xffff_ffff_8100_0000 // where the synthetic kernel is linked
	testSize = 4096
)

// fakeELF is an ELF file with one segment of testSize bytes, which end at 0x1100,
// and behind it a section and the section headers, as in a vmlinux.
func fakeELF() []byte {
	const (
		segment = 0x100
		names   = segment + testSize
		headers = names + 16
	)
	le := binary.LittleEndian
	b := make([]byte, headers+3*sectHeaderSize)
	copy(b, elfIdent)
	le.PutUint16(b[offMachine:], machineX8664)
	le.PutUint64(b[offProgOffset:], elfHeaderSize)
	le.PutUint64(b[offSectOffset:], headers)
	le.PutUint16(b[offProgEntry:], progHeaderSize)
	le.PutUint16(b[offProgEntry+2:], 1)
	le.PutUint16(b[offSectEntry:], sectHeaderSize)
	le.PutUint16(b[offSectEntry+2:], 3)
	p := b[elfHeaderSize:]
	le.PutUint64(p[progOffset:], segment)
	le.PutUint64(p[progSize:], testSize)
	s := b[headers:]
	le.PutUint64(s[sectSize:], 1<<40) // of the null section, where it means something else
	s = s[sectHeaderSize:]
	s[sectType] = 3 // SHT_STRTAB
	le.PutUint64(s[sectOffset:], names)
	le.PutUint64(s[sectSize:], 16)
	s = s[sectHeaderSize:]
	s[sectType] = sectNoBits // as large as the BSS may be
	le.PutUint64(s[sectOffset:], names)
	le.PutUint64(s[sectSize:], 1<<30)
	return b
}

// table is a relocation table as relocs.c writes it: a zero, then the places.
func table(places ...uint64) []byte {
	b := make([]byte, entrySize)
	for _, p := range places {
		b = binary.LittleEndian.AppendUint32(b, uint32(p))
	}
	return b
}

// join puts the parts together, in new memory.
func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func mustTables(t testing.TB, image []byte) Relocs {
	t.Helper()
	r, err := Tables(image)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
