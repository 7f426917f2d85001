// Package kmodtest makes kernel modules for tests.
package kmodtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// Module returns an ELF file that has nothing but a .modinfo section with the given KEY=VALUE strings. No kernel
// would load it.
func Module(info ...string) []byte {
	const names = "\x00.modinfo\x00.shstrtab\x00"
	modinfo := strings.Join(info, "\x00") + "\x00"
	body := modinfo + names
	const headerSize, sectionSize = 64, 64
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Ehsize: headerSize, Shentsize: sectionSize, Shnum: 3, Shstrndx: 2, Shoff: uint64(headerSize + len(body)),
	}
	sections := []elf.Section64{
		{},
		{Name: uint32(strings.Index(names, ".modinfo")), Type: uint32(elf.SHT_PROGBITS), Off: headerSize, Size: uint64(len(modinfo))},
		{Name: uint32(strings.Index(names, ".shstrtab")), Type: uint32(elf.SHT_STRTAB), Off: uint64(headerSize + len(modinfo)), Size: uint64(len(names))},
	}
	var b bytes.Buffer
	for _, part := range []any{header, []byte(body), sections} {
		// Neither the buffer nor these types make it fail.
		_ = binary.Write(&b, binary.LittleEndian, part)
	}
	return b.Bytes()
}
