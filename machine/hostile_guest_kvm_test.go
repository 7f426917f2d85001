//go:build kvmtest

package machine

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"govmm/bootimage"
)

// The hostile guest interprets a script that lies in its RAM, so that a test in Go decides what a real guest does, and the guest does
// it by real instructions with real exits. It takes interrupts and exceptions: each ends the operation that it
// came in and goes on with the next, so no operation can stop the guest but by breaking its code or its tables.
const (
	hostileCode    = guestAddr // the interpreter, its jump table behind it
	hostileTable   = guestAddr + 0x800
	hostileIDT     = guestAddr + 0x1000
	hostileIDTR    = guestAddr + 0x2000
	hostileStacks  = guestAddr + 0x4000 // of a page each, for each processor
	hostileTables  = guestAddr + 0x1_0000
	hostileCounts  = guestAddr + 0x2_0000 // operations done, 8 bytes for each processor
	hostileScripts = 0x40_0000            // where the first processor's begins
	scriptRoom     = 0x80_0000            // for each processor's

	trampoline = 0x2000 // where a second processor starts in real mode: the start-up IPI's vector is 2
)

// Addresses above 4 GiB that the guest's page tables lead to somewhere else than their own number says.
const (
	above4G = 0x1_0000_0000 // 1 GiB of these, mapped to themselves
	farAway = 0x1_4000_0000 // 1 GiB from here on is farPhys
	farPhys = 1 << 38
)

// An opcode is what one operation of a script does.
type opcode uint32

const (
	opEnd opcode = iota // ends the run by the debug exit port
	opOut8
	opOut16
	opOut32
	opIn8
	opIn16
	opIn32
	opStore8
	opStore16
	opStore32
	opStore64
	opLoad8
	opLoad16
	opLoad32
	opLoad64
	opFill   // rep stosb: count bytes
	opFill32 // rep stosd: count words
	opString // rep outsb: count bytes from value
	opInput  // rep insb: count bytes to value
	opCopy   // rep movsb: count bytes from value
	opSpin   // count pauses, with interrupts on
	opListen // interrupts on for a moment
	opJump   // goes on at script address addr
	opHalt   // stands still
	opAwait  // reads 16 bits until they are value
	numOps
)

// opCode is each operation's code. It has the operation's addr in rdx, value in rbx and count in ecx.
var opCode = [numOps][]byte{
	opEnd:     {0xe7, 0xf4, 0xfa, 0xf4, 0xeb, 0xfd},                   // out 0xf4, eax; cli; hlt; jmp to hlt
	opOut8:    {0x88, 0xd8, 0xee},                                     // mov al, bl; out dx, al
	opOut16:   {0x89, 0xd8, 0x66, 0xef},                               // mov eax, ebx; out dx, ax
	opOut32:   {0x89, 0xd8, 0xef},                                     // mov eax, ebx; out dx, eax
	opIn8:     {0xec},                                                 // in al, dx
	opIn16:    {0x66, 0xed},                                           // in ax, dx
	opIn32:    {0xed},                                                 // in eax, dx
	opStore8:  {0x88, 0x1a},                                           // mov [rdx], bl
	opStore16: {0x66, 0x89, 0x1a},                                     // mov [rdx], bx
	opStore32: {0x89, 0x1a},                                           // mov [rdx], ebx
	opStore64: {0x48, 0x89, 0x1a},                                     // mov [rdx], rbx
	opLoad8:   {0x8a, 0x02},                                           // mov al, [rdx]
	opLoad16:  {0x66, 0x8b, 0x02},                                     // mov ax, [rdx]
	opLoad32:  {0x8b, 0x02},                                           // mov eax, [rdx]
	opLoad64:  {0x48, 0x8b, 0x02},                                     // mov rax, [rdx]
	opFill:    {0x48, 0x89, 0xd7, 0x89, 0xd8, 0xf3, 0xaa},             // mov rdi, rdx; mov eax, ebx; rep stosb
	opFill32:  {0x48, 0x89, 0xd7, 0x89, 0xd8, 0xf3, 0xab},             // mov rdi, rdx; mov eax, ebx; rep stosd
	opHalt:    {0xfa, 0xf4, 0xeb, 0xfd},                               // cli; hlt; jmp to hlt
	opAwait:   {0x66, 0x39, 0x1a, 0x74, 0x04, 0xf3, 0x90, 0xeb, 0xf7}, // cmp [rdx], bx; je to the end; pause; jmp to cmp
	opString:  {0x48, 0x89, 0xde, 0xf3, 0x6e},                         // mov rsi, rbx; rep outsb
	opInput:   {0x48, 0x89, 0xdf, 0xf3, 0x6c},                         // mov rdi, rbx; rep insb
	opCopy:    {0x48, 0x89, 0xd7, 0x48, 0x89, 0xde, 0xf3, 0xa4},       // mov rdi, rdx; mov rsi, rbx; rep movsb
	opSpin:    {0xfb, 0xf3, 0x90, 0xff, 0xc9, 0x75, 0xfa, 0xfa},       // sti; pause; dec ecx; jnz to pause; cli
	opListen:  {0xfb, 0x90, 0x90, 0xfa},                               // sti; nop; nop; cli
	opJump:    {0x49, 0x89, 0xd7, 0x49, 0x83, 0xef, operationSize},    // mov r15, rdx; sub r15, size
}

const operationSize = 32

// An operation is one line of a script.
type operation struct {
	op          opcode
	count       uint32
	addr, value uint64
}

func (o operation) String() string {
	return fmt.Sprintf("op %d addr %#x value %#x count %d", o.op, o.addr, o.value, o.count)
}

// encode is the script as it lies in RAM.
func encode(script []operation) []byte {
	b := make([]byte, 0, operationSize*len(script))
	for _, o := range script {
		b = binary.LittleEndian.AppendUint32(b, uint32(o.op))
		b = binary.LittleEndian.AppendUint32(b, o.count)
		b = binary.LittleEndian.AppendUint64(b, o.addr)
		b = binary.LittleEndian.AppendUint64(b, o.value)
		b = binary.LittleEndian.AppendUint64(b, 0)
	}
	return b
}

func imm32(v uint64) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

// assembler puts code together whose end is jumped to from elsewhere.
type assembler struct{ code []byte }

func (a *assembler) at() uint64       { return hostileCode + uint64(len(a.code)) }
func (a *assembler) emit(p ...[]byte) { a.code = append(a.code, slices.Concat(p...)...) }

// jump emits jmp to an address.
func (a *assembler) jump(to uint64) { a.emit([]byte{0xe9}, imm32(to-a.at()-5)) }

// hostileInterpreter is the interpreter with its tables, and where each processor begins.
func hostileInterpreter(cpus int) (code []byte, starts []uint64, handler uint64) {
	var a assembler
	next := a.at()
	a.emit(
		[]byte{0x49, 0x83, 0xc7, operationSize},       // add r15, 32
		[]byte{0x49, 0xff, 0x06},                      // inc qword [r14]
		[]byte{0x41, 0x8b, 0x07},                      // mov eax, [r15]
		[]byte{0x41, 0x8b, 0x4f, 0x04},                // mov ecx, [r15+4]
		[]byte{0x49, 0x8b, 0x57, 0x08},                // mov rdx, [r15+8]
		[]byte{0x49, 0x8b, 0x5f, 0x10},                // mov rbx, [r15+16]
		[]byte{0xff, 0x24, 0xc5}, imm32(hostileTable), // jmp [table+rax*8]
	)
	var table []byte
	for _, code := range opCode {
		table = binary.LittleEndian.AppendUint64(table, a.at())
		a.emit(code)
		a.jump(next)
	}
	// Without a return nothing depends on what was pushed, an error code or not.
	handler = a.at()
	a.emit([]byte{0x4c, 0x89, 0xec})                                                // mov rsp, r13
	a.emit([]byte{0xb8}, imm32(localAPICAddr+0xb0), []byte{0xc7, 0x00, 0, 0, 0, 0}) // mov eax, EOI; mov dword [rax], 0
	a.jump(next)
	for cpu := range uint64(cpus) {
		starts = append(starts, a.at())
		a.emit(
			[]byte{0x41, 0xbd}, imm32(hostileStacks+(cpu+1)*0x1000-16), // mov r13d, stack
			[]byte{0x4c, 0x89, 0xec},                       // mov rsp, r13
			[]byte{0x41, 0xbe}, imm32(hostileCounts+8*cpu), // mov r14d, count
			[]byte{0x41, 0xbf}, imm32(scriptAddr(cpu)-operationSize), // mov r15d, script
			[]byte{0x0f, 0x01, 0x1c, 0x25}, imm32(hostileIDTR), // lidt [idtr]
		)
		a.jump(next)
	}
	a.emit(make([]byte, hostileTable-a.at()), table)
	return a.code, starts, handler
}

func scriptAddr(cpu uint64) uint64 { return hostileScripts + cpu*scriptRoom }

// hostileIDTFor leads all vectors to handler.
func hostileIDTFor(handler uint64) []byte {
	var b []byte
	for range 256 {
		// An interrupt gate (Intel SDM, volume 3A, 6.14.1).
		b = binary.LittleEndian.AppendUint64(b, handler&0xffff|bootCS<<16|0x8e00<<32|handler>>16<<48)
		b = binary.LittleEndian.AppendUint64(b, handler>>32)
	}
	return b
}

// hostileTrampoline takes a second processor from real mode to start.
func hostileTrampoline(start uint64) []byte {
	return slices.Concat(
		[]byte{0xfa, 0x31, 0xc0, 0x8e, 0xd8},                                // cli; xor ax, ax; mov ds, ax
		[]byte{0x66, 0x0f, 0x01, 0x16, 0x80, trampoline >> 8},               // lgdt [trampoline+0x80]
		[]byte{0x0f, 0x20, 0xe0, 0x66, 0x83, 0xc8, cr4PAE},                  // mov eax, cr4; or eax, PAE
		[]byte{0x0f, 0x22, 0xe0},                                            // mov cr4, eax
		[]byte{0x66, 0xb8}, imm32(pageTablesAddr), []byte{0x0f, 0x22, 0xd8}, // mov eax, tables; mov cr3, eax
		[]byte{0x66, 0xb9}, imm32(0xc000_0080), []byte{0x0f, 0x32}, // mov ecx, EFER; rdmsr
		[]byte{0x66, 0x0d}, imm32(eferLME), []byte{0x0f, 0x30}, // or eax, LME; wrmsr
		[]byte{0x66, 0xb8}, imm32(cr0PE|cr0ET|cr0NE|cr0PG), []byte{0x0f, 0x22, 0xc0}, // mov eax, ...; mov cr0, eax
		[]byte{0x66, 0xea}, imm32(start), []byte{bootCS, 0}, // jmp far
	)
}

// newHostile makes a machine whose processors do the scripts.
func newHostile(t *testing.T, cfg Config, scripts [][]operation) (*Machine, error) {
	t.Helper()
	code, starts, handler := hostileInterpreter(len(scripts))
	segments := []bootimage.Segment{
		{Name: "interpreter", Addr: hostileCode, Data: code},
		{Name: "IDT", Addr: hostileIDT, Data: hostileIDTFor(handler)},
		{Name: "IDTR", Addr: hostileIDTR, Data: binary.LittleEndian.AppendUint64([]byte{0xff, 0x0f}, hostileIDT)},
		{Name: "tables", Addr: hostileTables, Data: farTables()},
	}
	for i, s := range scripts {
		s = append(slices.Clone(s), operation{op: opEnd})
		if len(s)*operationSize > scriptRoom {
			t.Fatalf("a script of %d operations is too long", len(s))
		}
		segments = append(segments, bootimage.Segment{Name: fmt.Sprintf("script %d", i), Addr: scriptAddr(uint64(i)), Data: encode(s)})
	}
	if len(scripts) > 1 {
		segments = append(segments, bootimage.Segment{Name: "trampoline", Addr: trampoline, Data: hostileTrampoline(starts[1])},
			bootimage.Segment{Name: "GDTR", Addr: trampoline + 0x80, Data: binary.LittleEndian.AppendUint32([]byte{6*8 - 1, 0}, gdtAddr)})
	}
	for i := range segments {
		segments[i].Size = uint64(len(segments[i].Data))
	}
	cfg.CPUs, cfg.DebugExit = len(scripts), true
	cfg.Image = &bootimage.Plan{Segments: segments, Entry: bootimage.Entry{Mode: bootimage.Linux64, PC: starts[0]}}
	m, err := New(cfg)
	if err != nil {
		return nil, err
	}
	// The page-directory-pointer table is the machine's second table.
	var entries []byte
	for i := range uint64(2) {
		entries = binary.LittleEndian.AppendUint64(entries, hostileTables+i*pageSize|ptePresent|pteWritable)
	}
	if _, err := m.Memory().WriteAt(entries, pageTablesAddr+pageSize+4*8); err != nil {
		return nil, err
	}
	return m, nil
}

// farTables are page directories for above4G and farAway.
func farTables() []byte {
	var b []byte
	for _, from := range []uint64{above4G, farPhys} {
		for i := range uint64(pageSize / 8) {
			b = binary.LittleEndian.AppendUint64(b, from+i<<21|ptePresent|pteWritable|pteLarge)
		}
	}
	return b
}

// operationsDone is how many operations the guest's processors did. A device may have been told to write there; what cannot be
// counts as nothing.
func operationsDone(m *Machine, cpus int) (n uint64) {
	for cpu := range cpus {
		b, err := m.Memory().ReadSlice(hostileCounts+8*uint64(cpu), 8)
		if err != nil {
			continue
		}
		if done := binary.LittleEndian.Uint64(b); done < 1<<32 {
			n += done
		}
	}
	return n
}

// startUpSecond is what the first processor does to start the second one (Intel SDM, volume 3A, 8.4.4).
func startUpSecond() []operation {
	const icrLow, icrHigh = localAPICAddr + 0x300, localAPICAddr + 0x310
	ops := enableAPIC()
	for _, command := range []uint64{0x4500, 0x4600 | trampoline>>12} {
		ops = append(ops, operation{op: opStore32, addr: icrHigh, value: 1 << 24}, operation{op: opStore32, addr: icrLow, value: command},
			operation{op: opSpin, count: 1000})
	}
	return ops
}

// enableAPIC lets the processor's local APIC take interrupts: the spurious-interrupt vector register.
func enableAPIC() []operation {
	return []operation{{op: opStore32, addr: localAPICAddr + 0xf0, value: 0x1ff}}
}
