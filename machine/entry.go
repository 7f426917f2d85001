package machine

import (
	"encoding/binary"
	"fmt"

	"govmm/bootimage"
	"govmm/kvm"
	"govmm/machine/memory"
)

// Bits of control registers, EFER and page table entries (Intel SDM, volume 3A,
// sections 2.5 and 4.5; AMD APM, volume 2, chapter 3 and 5).
const (
	cr0PE   = 1 << 0
	cr0ET   = 1 << 4
	cr0NE   = 1 << 5
	cr0PG   = 1 << 31
	cr4PAE  = 1 << 5
	eferLME = 1 << 8
	eferLMA = 1 << 10

	ptePresent  = 1 << 0
	pteWritable = 1 << 1
	pteLarge    = 1 << 7

	rflagsReserved = 1 << 1 // always one
)

// Selectors that the 64-bit boot protocol names: __BOOT_CS and __BOOT_DS
// (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol").
const (
	bootCS = 0x10
	bootDS = 0x18
	bootTR = 0x20
)

// segmentKind is a descriptor's type and attributes; base is always zero.
type segmentKind struct {
	selector  uint16
	limit     uint32
	typ       uint8
	code, l   bool
	db, g     bool
	isSegment bool // S: a code or data segment, not a system one
}

var (
	code64 = segmentKind{selector: bootCS, limit: 0xffff_ffff, typ: 0xb, l: true, g: true, isSegment: true}
	code32 = segmentKind{selector: bootCS, limit: 0xffff_ffff, typ: 0xb, db: true, g: true, isSegment: true}
	data32 = segmentKind{selector: bootDS, limit: 0xffff_ffff, typ: 0x3, db: true, g: true, isSegment: true}
	tss    = segmentKind{selector: bootTR, limit: 0x67, typ: 0xb}
)

// register is the segment as KVM_SET_SREGS takes it, with the limit in bytes.
func (k segmentKind) register() kvm.Segment {
	return kvm.Segment{
		Limit: k.limit, Selector: k.selector, Type: k.typ, Present: 1,
		DB: b2u(k.db), S: b2u(k.isSegment), L: b2u(k.l), G: b2u(k.g),
	}
}

// descriptor is the segment as it lies in a GDT (Intel SDM, volume 3A, 3.4.5).
func (k segmentKind) descriptor() uint64 {
	limit := uint64(k.limit)
	if k.g {
		limit >>= 12
	}
	access := uint64(k.typ) | uint64(b2u(k.isSegment))<<4 | 1<<7
	flags := uint64(b2u(k.l))<<1 | uint64(b2u(k.db))<<2 | uint64(b2u(k.g))<<3
	return limit&0xffff | access<<40 | limit>>16<<48 | flags<<52
}

func b2u(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// prepareEntry writes the tables that the entry needs into RAM: the GDT, and page
// tables where the kernel is entered in long mode.
func prepareEntry(ram *memory.Memory, e bootimage.Entry) error {
	code := code64
	if e.Mode == bootimage.PVH {
		code = code32
	}
	gdt := make([]byte, 0, 5*8)
	for _, d := range []uint64{0, 0, code.descriptor(), data32.descriptor(), tss.descriptor()} {
		gdt = binary.LittleEndian.AppendUint64(gdt, d)
	}
	// In long mode a TSS descriptor has 16 bytes; the upper half is zero.
	gdt = binary.LittleEndian.AppendUint64(gdt, 0)
	if _, err := ram.WriteAt(gdt, gdtAddr); err != nil {
		return fmt.Errorf("GDT: %w", err)
	}
	if e.Mode == bootimage.PVH {
		return nil
	}
	if _, err := ram.WriteAt(identityPageTables(), pageTablesAddr); err != nil {
		return fmt.Errorf("page tables: %w", err)
	}
	return nil
}

// identityPageTables maps the first 4 GiB to themselves with 2 MiB pages, at
// pageTablesAddr: one PML4, one page-directory-pointer table, four page
// directories. 2 MiB rather than 1 GiB pages, because every 64-bit processor has
// them; a kernel builds its own tables before it looks beyond.
func identityPageTables() []byte {
	const page, directories = 4096, 4
	t := make([]byte, (2+directories)*page)
	put := func(table, i int, v uint64) {
		binary.LittleEndian.PutUint64(t[table*page+i*8:], v)
	}
	put(0, 0, pageTablesAddr+1*page|ptePresent|pteWritable)
	for d := range directories {
		put(1, d, uint64(pageTablesAddr+(2+d)*page)|ptePresent|pteWritable)
	}
	for i := range directories * page / 8 {
		put(2, i, uint64(i)<<21|ptePresent|pteWritable|pteLarge)
	}
	return t
}

// enter puts the boot processor's registers as the entry asks. s is the state
// after reset, from which everything that the entry leaves open is kept.
func enter(e bootimage.Entry, s kvm.Sregs) (kvm.Regs, kvm.Sregs, error) {
	regs := kvm.Regs{RIP: e.PC, RFLAGS: rflagsReserved}
	data := data32.register()
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.TR = tss.register()
	s.GDT = kvm.DTable{Base: gdtAddr, Limit: 6*8 - 1}
	s.IDT = kvm.DTable{}
	switch e.Mode {
	case bootimage.Linux64:
		regs.RSI = e.Arg
		s.CS = code64.register()
		s.CR0 = cr0PE | cr0ET | cr0NE | cr0PG
		s.CR3 = pageTablesAddr
		s.CR4 = cr4PAE
		s.EFER = eferLME | eferLMA
	case bootimage.PVH:
		// Xen's docs/misc/pvh.pandoc: protected mode, paging off, EBX = start_info.
		regs.RBX = e.Arg
		s.CS = code32.register()
		s.CR0 = cr0PE | cr0ET
		s.CR4, s.EFER = 0, 0
	default:
		return regs, s, fmt.Errorf("kernel entry mode %v is not known", e.Mode)
	}
	return regs, s, nil
}
