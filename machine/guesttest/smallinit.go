package guesttest

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"

	"govmm/bootimage/initramfs"
)

// InitLine is what the init of a small initrd writes to the console.
const InitLine = "hello from init\n"

// Then is what the init of a small initrd does when it has written InitLine.
type Then int

const (
	PowerOff Then = iota
	Sleep         // for ever
	Await         // a line on the console, then PowerOff
)

// SmallInitrd writes an initrd of about 1 MB into a directory of the test's. Its init marks its start at
// machine.MarkPort, writes InitLine and powers the machine off.
func SmallInitrd(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "initrd")
	if err := WriteSmallInitrd(path, PowerOff); err != nil {
		t.Fatal(err)
	}
	return path
}

// WriteSmallInitrd is SmallInitrd for others than tests, and for another end.
func WriteSmallInitrd(path string, then Then) error {
	return writeInitrd(path, smallInit(then), func(w *initramfs.Writer) error {
		return w.WriteFile("ballast", 0o644, make([]byte, 1<<20))
	})
}

// System calls and their arguments (include/uapi/linux/reboot.h, arch/x86/entry/syscalls/syscall_64.tbl).
const (
	sysRead   = 0
	sysWrite  = 1
	sysPause  = 34
	sysReboot = 169
	sysIOPerm = 173

	rebootMagic1   = 0xfee1dead
	rebootMagic2   = 0x28121969
	rebootPowerOff = 0x4321fedc

	markPort, markInit = 0x690, 1 // machine.MarkPort, which this package must not import
)

// smallInit is a Linux program in hand-written code:
//
//	mov eax, ioperm; mov edi, port;   mov esi, 1;           mov edx, 1;         syscall
//	test eax, eax;   jnz no;          mov edx, port;        mov eax, init;      out dx, al;  no:
//	mov eax, write;  mov edi, 1;      lea rsi, [rip+line];  mov edx, len;       syscall
//	mov eax, reboot; mov edi, magic1; mov esi, magic2;      mov edx, power off; syscall
//	jmp $
//
// or, to sleep, in place of the last two lines:
//
//	mov eax, pause;  syscall
//	jmp $
//
// or, to await a line, before the last two:
//
//	mov eax, read;   mov edi, 0;      mov rsi, rsp;         mov edx, 1;         syscall
func smallInit(then Then) []byte {
	const (
		movEAX, movEDI, movESI, movEDX = 0xb8, 0xbf, 0xbe, 0xba

		lineWritten = 5 + 2 // bytes of code between the lea and the end of the write
		powerOff    = 4*5 + 2
		sleep       = 5 + 2
		await       = 5 + 5 + 3 + 5 + 2
		jump        = 2
	)
	le := binary.LittleEndian
	var code []byte
	mov := func(opcode byte, v uint32) { code = le.AppendUint32(append(code, opcode), v) }
	syscall := func() { code = append(code, 0x0f, 0x05) }

	mov(movEAX, sysIOPerm)
	mov(movEDI, markPort)
	mov(movESI, 1)
	mov(movEDX, 1)
	syscall()
	code = append(code, 0x85, 0xc0, 0x75, 5+5+1)
	mov(movEDX, markPort)
	mov(movEAX, markInit)
	code = append(code, 0xee)
	mov(movEAX, sysWrite)
	mov(movEDI, 1)
	toLine := lineWritten + powerOff + jump
	switch then {
	case Sleep:
		toLine = lineWritten + sleep + jump
	case Await:
		toLine += await
	}
	code = le.AppendUint32(append(code, 0x48, 0x8d, 0x35), uint32(toLine))
	mov(movEDX, uint32(len(InitLine)))
	syscall()
	if then == Await {
		mov(movEAX, sysRead)
		mov(movEDI, 0)
		code = append(code, 0x48, 0x89, 0xe6)
		mov(movEDX, 1)
		syscall()
	}
	if then == Sleep {
		mov(movEAX, sysPause)
	} else {
		mov(movEAX, sysReboot)
		mov(movEDI, rebootMagic1)
		mov(movESI, rebootMagic2)
		mov(movEDX, rebootPowerOff)
	}
	syscall()
	code = append(code, 0xeb, 0xfe)
	return executable(append(code, InitLine...))
}

// executable wraps code into the smallest static ELF program.
func executable(code []byte) []byte {
	const base, headers = 0x40_0000, 64 + 56
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	put([]uint16{2, 62})                 // ET_EXEC, EM_X86_64
	put(uint32(1))                       // EV_CURRENT
	put([]uint64{base + headers, 64, 0}) // entry, program headers, section headers
	put(uint32(0))                       // flags
	put([]uint16{64, 56, 1, 64, 0, 0})   // sizes and numbers of headers
	put([]uint32{1, 5})                  // PT_LOAD, readable and executable
	size := uint64(headers + len(code))
	put([]uint64{0, base, base, size, size, 0x1000})
	b.Write(code)
	return b.Bytes()
}
