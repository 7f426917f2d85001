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
// the data segments 0x18. Lesson 3 explains it; here the segments' descriptors are in memory too, for guests that load segment registers. They lie
// at 0x500 to 0x520, the page tables at 0x9000 to 0xf000.
func LongMode(m *VM, cpu *kvm.VCPU, regs kvm.Regs) error {
	gdt := []byte{
		0x10: 0xff, 0xff, 0, 0, 0, 0x9b, 0xaf, 0, // code: present, ring 0, long mode
		0x18: 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0, // data: present, ring 0, writable
	}
	if err := errors.Join(m.Load(gdtAddr, gdt), m.Load(tablesAddr, pageTables())); err != nil {
		return err
	}
	return SetRegisters(cpu, regs, func(s *kvm.Sregs) {
		data := kvm.Segment{Selector: 0x18, Limit: 0xffffffff, Type: 3, Present: 1, S: 1, DB: 1, G: 1}
		s.CS = kvm.Segment{Selector: 0x10, Limit: 0xffffffff, Type: 11, Present: 1, S: 1, L: 1, G: 1}
		s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
		s.GDT = kvm.DTable{Base: gdtAddr, Limit: uint16(len(gdt) - 1)}
		s.CR0 = 1<<31 | 1<<5 | 1<<4 | 1<<0 // paging, numeric errors, extension type (always 1), protected mode
		s.CR3 = tablesAddr
		s.CR4 = 1 << 5        // physical address extension
		s.EFER = 1<<10 | 1<<8 // long mode active, long mode enabled
	})
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
