package bootimage

import (
	"fmt"
	"io"
)

// Kind is a kind of kernel file.
type Kind uint8

const (
	BzImage Kind = iota + 1 // Linux/x86 bzImage for the 64-bit boot protocol
	Vmlinux                 // x86-64 ELF executable with a PVH entry note
)

func (k Kind) String() string {
	switch k {
	case BzImage:
		return "bzImage"
	case Vmlinux:
		return "ELF vmlinux"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MemoryType is the type of a memory range, with the values of ACPI 6.5
// section 15 (address range types), which both boot protocols use.
type MemoryType uint32

const (
	RAM         MemoryType = 1 // AddressRangeMemory
	Reserved    MemoryType = 2 // AddressRangeReserved
	ACPIReclaim MemoryType = 3 // AddressRangeACPI
	ACPINVS     MemoryType = 4 // AddressRangeNVS
	Unusable    MemoryType = 5 // AddressRangeUnusable
)

// MemoryRange is one entry of the memory map that the kernel is told (E820).
// Addr and Size are guest-physical, in bytes.
type MemoryRange struct {
	Addr, Size uint64
	Type       MemoryType
}

// Params is what a kernel is booted with.
type Params struct {
	// Cmdline is the kernel command line, without a terminating NUL.
	Cmdline string

	// Initrd is the initial RAM disk or nil. It is not copied.
	Initrd []byte

	// Memory is the memory map, sorted by address, without overlaps, at most
	// 128 entries. Kernel, initrd and boot data are placed in its RAM only, and
	// nothing is placed in the first MiB except the boot data (see the package
	// comment), so ACPI tables and the like need an entry of another type.
	Memory []MemoryRange

	// RSDP is the guest-physical address of the ACPI root pointer, 0 for none.
	RSDP uint64

	// Unpacked is the kernel inside a bzImage as package payload unpacks it: an ELF vmlinux and its
	// relocation tables, preferably with Trim applied to it. It is then loaded and entered in place of the bzImage's
	// decompressor, which never runs. Empty leaves the unpacking to the guest. Not copied.
	Unpacked []byte

	// Random, usually crypto/rand's Reader, gives a bzImage a seed for its random numbers, and
	// the addresses at which an unpacked one lies, unless the command line has the
	// word nokaslr. Nil gives neither: the kernel lies where it is linked to lie.
	Random io.Reader
}

// Source tells which of the inputs a segment's bytes are part of.
type Source uint8

const (
	Made         Source = iota // none: Load made them
	FromKernel                 // Load's kernel
	FromUnpacked               // Params.Unpacked
	FromInitrd                 // Params.Initrd
)

// Segment is a piece of guest memory to fill before the guest starts.
type Segment struct {
	Addr uint64 // guest-physical
	Data []byte // what goes to Addr; may alias the kernel's or initrd's bytes: do not write

	// Size is how much memory belongs to the segment, at least len(Data). The
	// kernel relies on zeroes behind Data, so RAM that was in use before needs
	// clearing there. Segments do not overlap by this size.
	Size uint64

	Name string // for messages: "kernel", "initrd", "command line", ...

	// Source and Offset say where in which input Data begins, for those who would
	// rather map a file than copy. Offset is 0 where Load made the bytes.
	Source Source
	Offset uint64

	// Changed says that the plan's relocation will change most of the segment's pages, so that
	// to copy it is better.
	Changed bool
}

// EntryMode is the processor state in which a kernel wants to be entered.
type EntryMode uint8

const (
	// Linux64 is the 64-bit boot protocol: long mode with paging, the first
	// 4 GiB mapped one to one, flat CS 0x10 and data segments 0x18, interrupts
	// off, RSI = Entry.Arg (boot_params).
	Linux64 EntryMode = iota + 1

	// PVH is the x86/HVM direct boot: 32-bit protected mode without paging,
	// flat segments of 4 GiB, CR0 = PE, CR4 = 0, interrupts off,
	// EBX = Entry.Arg (hvm_start_info).
	PVH
)

func (m EntryMode) String() string {
	switch m {
	case Linux64:
		return "64-bit boot protocol"
	case PVH:
		return "PVH"
	}
	return fmt.Sprintf("EntryMode(%d)", uint8(m))
}

// Entry says how to start the boot processor.
type Entry struct {
	Mode EntryMode
	PC   uint64 // guest-physical address of the first instruction
	Arg  uint64 // guest-physical address of the boot information
}

// Plan is a loaded kernel: what to copy where, and how to start.
type Plan struct {
	Kind     Kind
	Version  string // a bzImage's own description of itself; may be empty
	Segments []Segment
	Entry    Entry

	// Direct says that the kernel was unpacked before and is entered at its own entry.
	Direct bool

	// Randomized says that the place of a kernel entered directly was chosen by chance.
	Randomized bool

	// Relocation is to be applied after the segments have been copied; nil if there is none.
	Relocation *Relocation

	// Mapping says where the kernel will map itself. It is zero for one that unpacks itself, and so may choose another place.
	Mapping Mapping
}

// A Mapping is what a kernel's own page tables will say of the kernel itself, once it has made them: for those who look into it
// before that, such as debuggers.
type Mapping struct {
	Virt, Phys, Size uint64 // the bytes from Virt on are those from Phys on
	Delta            uint64 // how much higher than linked Virt is, by randomization
}

// Find gives the guest-physical address of what the kernel will have at a virtual address, if that lies in the mapping.
func (m Mapping) Find(virt uint64) (phys uint64, ok bool) {
	off := virt - m.Virt
	return m.Phys + off, off < m.Size
}

// SelfUnpacking reports whether what is entered is a decompressor, which enters the kernel later.
func (p *Plan) SelfUnpacking() bool { return p.Kind == BzImage && !p.Direct }

// Load plans the boot of kernel, the content of a kernel's file, with p. The
// plan's segments alias kernel and p.Initrd, which must stay unchanged and
// mapped until the segments have been copied.
//
// An error is one line that reads well behind the name of the kernel's file.
// Load keeps no state; any number of goroutines may call it.
func Load(kernel []byte, p Params) (*Plan, error) {
	kind, err := Identify(kernel)
	if err != nil {
		return nil, err
	}
	mem, err := newMemoryMap(p.Memory)
	if err != nil {
		return nil, err
	}
	if kind == Vmlinux {
		return loadVmlinux(kernel, p, mem)
	}
	return loadBzImage(kernel, p, mem)
}
