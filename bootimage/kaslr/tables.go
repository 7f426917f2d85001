package kaslr

import (
	"errors"
	"fmt"
)

// ErrNone says that a kernel has no relocation tables, so that it has to run at the
// virtual address that it is linked at. Test for it with errors.Is.
var ErrNone = errors.New("the kernel has no relocation tables")

// Where a 64-bit kernel is mapped (Documentation/arch/x86/x86_64/mm.rst, "kernel
// text mapping"; KERNEL_IMAGE_SIZE of a kernel with CONFIG_RANDOMIZE_BASE).
const (
	kernelMap = 0xffff_ffff_8000_0000
	mapSize   = 1 << 30
)

const (
	entrySize = 4
	maxTables = 3
)

// Relocs are the places in a kernel that depend on its virtual address. The zero
// value has none.
type Relocs struct {
	abs32, inverse, abs64 []byte // entries as in the image, which they alias
}

// Len returns how many places there are, of any kind.
func (r Relocs) Len() int { return (len(r.abs32) + len(r.inverse) + len(r.abs64)) / entrySize }

// Tables finds the relocation tables behind the ELF file with which image, an
// unpacked kernel, begins. Nothing is copied, so image must stay unchanged while
// the result is in use.
//
// The error is ErrNone if the image ends with the ELF file. Any error is one line.
func Tables(image []byte) (Relocs, error) {
	end, err := End(image)
	if err != nil {
		return Relocs{}, err
	}
	tail := image[end:]
	if len(tail) == 0 {
		return Relocs{}, ErrNone
	}
	if len(tail)%entrySize != 0 || le32(tail, 0) != 0 {
		return Relocs{}, fmt.Errorf("the unpacked kernel has %d bytes behind its end that are no relocation tables", len(tail))
	}
	tables, err := split(tail)
	if err != nil {
		return Relocs{}, err
	}
	switch len(tables) {
	case 2:
		return Relocs{abs64: tables[0], abs32: tables[1]}, nil
	case 3:
		return Relocs{abs64: tables[0], inverse: tables[1], abs32: tables[2]}, nil
	}
	return Relocs{}, fmt.Errorf("the unpacked kernel has %d relocation tables; 2 or 3 are known", len(tables))
}

// split cuts tail, of whole entries, at the zeroes before each table.
func split(tail []byte) ([][]byte, error) {
	var starts [maxTables]int // of the tables' entries
	n := 0
	for at := 0; at < len(tail); at += entrySize {
		v := le32(tail, at)
		if v != 0 {
			if address(v)-kernelMap >= mapSize {
				return nil, fmt.Errorf("the unpacked kernel has a relocation at %#x, where no kernel lies", address(v))
			}
			continue
		}
		if n == maxTables {
			return nil, fmt.Errorf("the unpacked kernel has more than %d relocation tables", maxTables)
		}
		starts[n] = at + entrySize
		n++
	}
	tables := make([][]byte, n)
	for i := range tables {
		end := len(tail)
		if i+1 < n {
			end = starts[i+1] - entrySize
		}
		tables[i] = tail[starts[i]:end:end]
	}
	return tables, nil
}

// address is the virtual address that an entry stands for.
func address(entry uint32) uint64 { return uint64(int64(int32(entry))) }
