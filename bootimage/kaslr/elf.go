package kaslr

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ELF-64 (System V ABI, "Object Files"): offsets in the file header and in program
// and section headers, and values.
const (
	elfIdent = "\x7fELF\x02\x01" // 64 bits, little-endian

	offMachine     = 0x12
	offProgOffset  = 0x20
	offSectOffset  = 0x28
	offProgEntry   = 0x36 // size of a header, then the count
	offSectEntry   = 0x3a
	elfHeaderSize  = 0x40
	machineX8664   = 62
	progHeaderSize = 0x38
	sectHeaderSize = 0x40

	progOffset = 0x08
	progSize   = 0x20
	sectType   = 0x04
	sectOffset = 0x18
	sectSize   = 0x20

	sectNull   = 0
	sectNoBits = 8
)

func le16(b []byte, off int) uint16 { return binary.LittleEndian.Uint16(b[off:]) }
func le32(b []byte, off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
func le64(b []byte, off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }

// End returns where the ELF file ends with which image begins: behind the last
// of all that its headers speak of, themselves included.
func End(image []byte) (uint64, error) {
	if len(image) < elfHeaderSize || string(image[:len(elfIdent)]) != elfIdent || le16(image, offMachine) != machineX8664 {
		return 0, errors.New("the unpacked kernel is no ELF file for x86-64")
	}
	f := elfFile{image: image, end: elfHeaderSize}
	err := f.headers(le64(image, offProgOffset), offProgEntry, progHeaderSize, func(h []byte) error {
		return f.extend(le64(h, progOffset), le64(h, progSize))
	})
	if err != nil {
		return 0, err
	}
	err = f.headers(le64(image, offSectOffset), offSectEntry, sectHeaderSize, func(h []byte) error {
		if t := le32(h, sectType); t == sectNull || t == sectNoBits {
			return nil
		}
		return f.extend(le64(h, sectOffset), le64(h, sectSize))
	})
	return f.end, err
}

type elfFile struct {
	image []byte
	end   uint64
}

// headers visits the program or section headers at off, of which the size and the
// count are in the file header at entry.
func (f *elfFile) headers(off uint64, entry int, size uint16, visit func([]byte) error) error {
	n := int(le16(f.image, entry+2))
	if n == 0 {
		return nil
	}
	if got := le16(f.image, entry); got != size {
		return fmt.Errorf("the unpacked kernel has ELF headers of %d bytes instead of %d", got, size)
	}
	total := uint64(n) * uint64(size)
	if err := f.extend(off, total); err != nil {
		return err
	}
	table := f.image[off : off+total]
	for ; len(table) > 0; table = table[size:] {
		if err := visit(table[:size]); err != nil {
			return err
		}
	}
	return nil
}

// extend takes note that the file has size bytes at off.
func (f *elfFile) extend(off, size uint64) error {
	have := uint64(len(f.image))
	if off > have || size > have-off {
		return fmt.Errorf("truncated unpacked kernel: %d bytes, there should be %d at %#x", have, size, off)
	}
	f.end = max(f.end, off+size)
	return nil
}
