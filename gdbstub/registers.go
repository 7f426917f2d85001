package gdbstub

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
)

// Registers are those that gdb sees, in the order of the target description and with the widths that they have in packets.
type Registers struct {
	General [16]uint64 // indexed by RAX to R15
	RIP     uint64
	EFlags  uint32
	Segment [6]uint32    // selectors: CS, SS, DS, ES, FS, GS
	ST      [8][10]uint8 // the x87 stack, or MMX registers
	FPU     [8]uint32    // control, status and tag words; FISEG, FIOFF, FOSEG, FOOFF, FOP
	XMM     [16][16]uint8
	MXCSR   uint32 // not shown: KVM has it elsewhere than the rest
	FSBase  uint64
	GSBase  uint64
	System  System
}

// System are registers that only a kernel uses. gdb shows them by "info registers system".
type System struct {
	KernelGSBase            uint64 // what SWAPGS exchanges GSBase with
	CR0, CR2, CR3, CR4, CR8 uint64
	EFER                    uint64
}

// Indexes of Registers.General, in gdb's order.
const (
	RAX = iota
	RBX
	RCX
	RDX
	RSI
	RDI
	RBP
	RSP
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
)

// A register is one as the target description has it.
type register struct {
	name  string
	size  int    // bytes
	typ   string // gdb's
	group string // where it is shown, if not with all others of its type
}

// A feature is a group of registers that gdb knows by name, or shows as they are.
type feature struct {
	name  string
	types string // definitions of types, in XML
	regs  []register
}

const mxcsr = "mxcsr"

// features are the target description's, in the order of Registers (gdb's manual, G.5.16 "x86 Features"). They are made when they are first
// needed, as all that hangs on them, so that a program which nobody debugs does not make them at its start.
var features = sync.OnceValue(func() []feature {
	return []feature{
		{"org.gnu.gdb.i386.core", eflagsType, coreRegisters()},
		{"org.gnu.gdb.i386.sse", vectorTypes, sseRegisters()},
		{"org.gnu.gdb.i386.segments", "", []register{{"fs_base", 8, "int", ""}, {"gs_base", 8, "int", ""}}},
		{"org.govmm.x86.system", "", systemRegisters("k_gs_base cr0 cr2 cr3 cr4 cr8 efer")},
	}
})

func coreRegisters() (regs []register) {
	for _, n := range strings.Fields("rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15") {
		typ := "int64"
		if n == "rbp" || n == "rsp" {
			typ = "data_ptr"
		}
		regs = append(regs, register{n, 8, typ, ""})
	}
	regs = append(regs, register{"rip", 8, "code_ptr", ""}, register{"eflags", 4, "i386_eflags", ""})
	for _, n := range strings.Fields("cs ss ds es fs gs") {
		regs = append(regs, register{n, 4, "int32", ""})
	}
	for i := range 8 {
		regs = append(regs, register{fmt.Sprint("st", i), 10, "i387_ext", ""})
	}
	for _, n := range strings.Fields("fctrl fstat ftag fiseg fioff foseg fooff fop") {
		regs = append(regs, register{n, 4, "int", "float"})
	}
	return regs
}

func sseRegisters() (regs []register) {
	for i := range 16 {
		regs = append(regs, register{fmt.Sprint("xmm", i), 16, "vec128", ""})
	}
	return append(regs, register{mxcsr, 4, "i386_mxcsr", "vector"})
}

func systemRegisters(names string) (regs []register) {
	for _, n := range strings.Fields(names) {
		regs = append(regs, register{n, 8, "int64", "system"})
	}
	return regs
}

// span is where a register lies in an encoding of Registers.
type span struct{ at, size int }

// layout says where all registers lie, by gdb's numbers, and where the one that is not shown does.
type layout struct {
	spans  []span
	hidden span
}

var layoutOf = sync.OnceValue(func() (l layout) {
	at := 0
	for _, f := range features() {
		for _, r := range f.regs {
			s := span{at, r.size}
			if l.spans = append(l.spans, s); r.name == mxcsr {
				l.hidden = s
			}
			at += r.size
		}
	}
	return l
})

// find gives where a register lies, by its number in digits.
func (l layout) find(number []byte) (span, bool) {
	n, ok := parseHex(number)
	if !ok || n >= uint64(len(l.spans)) {
		return span{}, false
	}
	return l.spans[n], true
}

// encode gives the registers as in packets, not yet as digits.
func (r *Registers) encode() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, r) // cannot fail: the type has a fixed size
	return b.Bytes()
}

func decodeRegisters(b []byte) (*Registers, error) {
	r := new(Registers)
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, r); err != nil {
		return nil, EINVAL
	}
	return r, nil
}

// digits gives an encoding of all registers for the packet "g": "x" stands for what is not known.
func digits(encoded []byte) []byte {
	out := make([]byte, hex.EncodedLen(len(encoded)))
	hex.Encode(out, encoded)
	hidden := layoutOf().hidden
	for i := range 2 * hidden.size {
		out[2*hidden.at+i] = 'x'
	}
	return out
}

// undigits undoes digits: what is not known comes as zeros. Fewer registers than all are an error.
func undigits(text []byte) ([]byte, error) {
	text = bytes.ReplaceAll(text, []byte("x"), []byte("0"))
	out := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(out, text); err != nil {
		return nil, EINVAL
	}
	return out, nil
}
