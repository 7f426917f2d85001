package vm

import (
	"encoding/binary"
	"errors"

	"govmm/kvm"
)

// Where LongMode has its tables: a GDT, and 6 pages of page tables.
const (
	gdtAddr    = 0x500
	tablesAddr = 0x9000
)

// LongMode has the processor begin in 64-bit mode with these registers, all addresses below 4 GiB mapped to themselves, the code segment 0x10 and
// the data segments 0x18. Lesson 3 does it by hand. Memory below 0x528 and from 0x9000 to 0xf000 is used for it.
func LongMode(m *VM, cpu *kvm.VCPU, regs kvm.Regs) error {
	gdt := []byte{
		0x10: 0xff, 0xff, 0, 0, 0, 0x9b, 0xaf, 0, // code: present, ring 0, long mode
		0x18: 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0, // data: present, ring 0, writable
	}
	if err := errors.Join(m.Load(gdtAddr, gdt), m.Load(tablesAddr, pageTables())); err != nil {
		return err
	}
	sregs, err := cpu.Sregs()
	if err != nil {
		return err
	}
	data := kvm.Segment{Selector: 0x18, Limit: 0xffffffff, Type: 3, Present: 1, S: 1, DB: 1, G: 1}
	sregs.CS = kvm.Segment{Selector: 0x10, Limit: 0xffffffff, Type: 11, Present: 1, S: 1, L: 1, G: 1}
	sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
	sregs.GDT = kvm.DTable{Base: gdtAddr, Limit: uint16(len(gdt) - 1)}
	sregs.CR0 = 1<<31 | 1<<5 | 1<<4 | 1<<0 // paging, numeric errors, extension type (always 1), protected mode
	sregs.CR3 = tablesAddr
	sregs.CR4 = 1 << 5        // physical address extension
	sregs.EFER = 1<<10 | 1<<8 // long mode active, long mode enabled
	if err := cpu.SetSregs(sregs); err != nil {
		return err
	}
	regs.RFLAGS |= 1 << 1 // always set
	return cpu.SetRegs(regs)
}

// pageTables maps 4 GiB by pages of 2 MiB: one table of level 4, one of level 3, four of level 2.
func pageTables() []byte {
	const page, present, writable, large = 4096, 1 << 0, 1 << 1, 1 << 7
	t, le := make([]byte, 6*page), binary.LittleEndian
	le.PutUint64(t, tablesAddr+page|present|writable)
	for i := range uint64(4) {
		le.PutUint64(t[page+i*8:], tablesAddr+(2+i)*page|present|writable)
	}
	for i := range uint64(4 * 512) {
		le.PutUint64(t[2*page+i*8:], i<<21|present|writable|large)
	}
	return t
}
