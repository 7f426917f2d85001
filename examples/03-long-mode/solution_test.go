package main

import (
	"encoding/binary"

	"govmm/machine/memory"
)

// Answers to the exercises. Yours may be others.

func identitySolution(base uint64) []byte {
	const large = 1 << 7
	all := make([]byte, 3*4096)
	le := binary.LittleEndian
	le.PutUint64(all[0:], base+4096|present|writable)
	le.PutUint64(all[4096:], base+2*4096|present|writable)
	for i := range 512 {
		le.PutUint64(all[2*4096+8*i:], uint64(i)<<21|large|present|writable)
	}
	return all
}

func walkSolution(ram *memory.Memory, root, virtual uint64) (uint64, bool) {
	const address = 1<<52 - 1<<12
	table := root
	for level := uint64(4); level > 0; level-- {
		bytes, err := ram.ReadSlice(table+8*index(virtual, level), 8)
		if err != nil {
			return 0, false
		}
		entry := binary.LittleEndian.Uint64(bytes)
		if entry&present == 0 {
			return 0, false
		}
		if isPage := level == 1 || level < 4 && entry&(1<<7) != 0; isPage {
			inPage := uint64(1)<<(12+9*(level-1)) - 1
			return entry&address&^inPage | virtual&inPage, true
		}
		table = entry & address
	}
	return 0, false
}

var toLongSolution = append([]byte{
	0x0f, 0x20, 0xe0, // mov eax, cr4
	0x83, 0xc8, 0x20, // or eax, 0x20: PAE
	0x0f, 0x22, 0xe0, // mov cr4, eax
	0xb8, 0x00, 0x00, 0x01, 0x00, // mov eax, 0x10000
	0x0f, 0x22, 0xd8, // mov cr3, eax
	0xb9, 0x80, 0x00, 0x00, 0xc0, // mov ecx, 0xc0000080
	0x0f, 0x32, // rdmsr
	0x0d, 0x00, 0x01, 0x00, 0x00, // or eax, 0x100: LME
	0x0f, 0x30, // wrmsr
	0x0f, 0x20, 0xc0, // mov eax, cr0
	0x0d, 0x00, 0x00, 0x00, 0x80, // or eax, 0x80000000: PG
	0x0f, 0x22, 0xc0, // mov cr0, eax
	0xea, 0x31, 0x10, 0x00, 0x00, 0x18, 0x00, // jmp 0x18:0x1031, behind this instruction
}, guest...)
