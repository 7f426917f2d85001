//go:build kvmtest

package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// Guests of hand-written 32-bit code, wrapped into the smallest ELF file that boots by
// PVH. At the entry, paging is off, segments are flat and there is neither a stack nor an IDT.
var (
	// mov al, 0x10; out 0xf4, al; hlt
	guestDebugExit = []byte{0xb0, 0x10, 0xe6, 0xf4, 0xf4}

	// ud2: with no IDT an exception, then a double fault, then a triple fault
	guestTripleFault = []byte{0x0f, 0x0b}

	// mov dx, 0x604; mov ax, 5<<10 | 1<<13; out dx, ax; hlt
	guestPowerOff = []byte{0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef, 0xf4}

	// mov dx, 0xcf9; mov al, 6; out dx, al; hlt
	guestReset = []byte{0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4}

	// mov al, 0xfe; out 0x64, al; hlt
	guestResetI8042 = []byte{0xb0, 0xfe, 0xe6, 0x64, 0xf4}

	// mov dx, 0x3f8; mov al, '!'; out dx, al; jmp $
	guestSpin = []byte{0x66, 0xba, 0xf8, 0x03, 0xb0, '!', 0xee, 0xeb, 0xfe}

	// guestEcho says '!' and sends back what it receives, until two zero bytes in a
	// row; then it powers off:
	//
	//	       xor  ebx, ebx
	//	       mov  dx, 0x3f8
	//	       mov  al, '!'
	//	       out  dx, al
	//	wait:  mov  dx, 0x3fd
	//	       in   al, dx
	//	       test al, 1
	//	       jz   wait
	//	       mov  dx, 0x3f8
	//	       in   al, dx
	//	       out  dx, al
	//	       mov  bh, bl
	//	       mov  bl, al
	//	       inc  ecx
	//	       cmp  ecx, 2
	//	       jb   wait
	//	       test bx, bx
	//	       jnz  wait
	//	       (power off)
	guestEcho = append([]byte{
		0x31, 0xdb, 0x31, 0xc9,
		0x66, 0xba, 0xf8, 0x03, 0xb0, '!', 0xee,
		0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7,
		0x66, 0xba, 0xf8, 0x03, 0xec, 0xee,
		0x88, 0xdf, 0x88, 0xc3,
		0x41, 0x83, 0xf9, 0x02, 0x72, 0xe7,
		0x66, 0x85, 0xdb, 0x75, 0xe2,
	}, guestPowerOff...)
)

const guestAddr = 0x10_0000

// writeGuest puts code into an ELF file with a PVH note and gives its path.
func writeGuest(t *testing.T, code []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest.elf")
	if err := os.WriteFile(path, pvhELF(code), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func pvhELF(code []byte) []byte {
	const headers, noteAt, codeAt = 64 + 2*56, 0x200, 0x1000
	le := binary.LittleEndian
	note := le.AppendUint32(nil, 4) // name size
	note = le.AppendUint32(note, 4) // description size
	note = le.AppendUint32(note, 18)
	note = append(note, "Xen\x00"...)
	note = le.AppendUint32(note, guestAddr)

	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	put := func(v any) { binary.Write(&b, le, v) }
	put([]uint16{2, 62})            // ET_EXEC, EM_X86_64
	put(uint32(1))                  // EV_CURRENT
	put([]uint64{guestAddr, 64, 0}) // entry, program headers, section headers
	put(uint32(0))
	put([]uint16{64, 56, 2, 64, 0, 0})
	segment := func(typ, flags uint32, off, addr, size uint64) {
		put([]uint32{typ, flags})
		put([]uint64{off, addr, addr, size, size, 0x1000})
	}
	segment(1, 7, codeAt, guestAddr, uint64(len(code)))
	segment(4, 4, noteAt, 0, uint64(len(note)))
	if b.Len() != headers {
		panic("the ELF headers have another size")
	}
	b.Write(make([]byte, noteAt-b.Len()))
	b.Write(note)
	b.Write(make([]byte, codeAt-b.Len()))
	b.Write(code)
	return b.Bytes()
}
