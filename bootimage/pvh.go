package bootimage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The PVH entry note (Xen's public headers, elfnote.h).
const (
	xenNoteOwner       = "Xen"
	xenNotePhys32Entry = 18 // XEN_ELFNOTE_PHYS32_ENTRY
)

// struct hvm_start_info, version 1, and the lists behind it (Xen's public headers,
// arch-x86/hvm/start_info.h). All three share one page.
const (
	startInfoMagic   = 0x336ec578
	startInfoVersion = 1
	startInfoSize    = 56

	modlistOffset    = 0x40
	modlistEntrySize = 32
	memmapOffset     = 0x80
	memmapEntrySize  = 24
)

const (
	// An ELF kernel does not say how long its command line may be. x86 Linux keeps
	// COMMAND_LINE_SIZE, 2048, with the NUL, and cuts off the rest without a word.
	pvhCmdlineMax = 2047

	// pvhInitrdEnd is where an initrd has to end: Linux takes a module's address and
	// size as 32 bits.
	pvhInitrdEnd = limit4G
)

// pvhEntry returns the physical address of the kernel's 32-bit entry.
func (img *elfImage) pvhEntry() (uint64, error) {
	desc, ok := img.note(xenNoteOwner, xenNotePhys32Entry)
	if !ok {
		return 0, errors.New("ELF file without a PVH entry note; a Linux vmlinux has one if built with CONFIG_PVH=y")
	}
	var entry uint64
	switch len(desc) {
	case 4:
		entry = uint64(le32(desc, 0))
	case 8:
		entry = le64(desc, 0)
	default:
		return 0, fmt.Errorf("ELF file with a PVH entry note of %d bytes instead of 4 or 8", len(desc))
	}
	if img.contains(entry) {
		return entry, nil
	}
	return 0, fmt.Errorf("ELF file whose PVH entry %#x lies in none of its segments", entry)
}

// checkPlace reports an error unless every segment lies in RAM below 4 GiB, clear
// of the boot data in low memory.
func (img *elfImage) checkPlace(mem *memoryMap) error {
	first, last := img.segments[0].span(), img.segments[len(img.segments)-1].span()
	if first.start < highMemory {
		return fmt.Errorf("ELF file with a segment at %v, in the low memory that boot data takes", first)
	}
	if last.end > limit4G {
		return fmt.Errorf("ELF file with a segment at %v, above 4 GiB", last)
	}
	if last.end > mem.lowEnd() {
		return mem.tooSmall(last.end)
	}
	for _, s := range img.segments {
		if !mem.holds(s.span()) {
			return fmt.Errorf("ELF file with a segment at %v, where the guest has no RAM", s.span())
		}
	}
	return nil
}

func loadVmlinux(file []byte, p Params, mem *memoryMap) (*Plan, error) {
	img, err := parseELF(file)
	if err != nil {
		return nil, err
	}
	entry, err := img.pvhEntry()
	if err != nil {
		return nil, err
	}
	if err := img.checkPlace(mem); err != nil {
		return nil, err
	}
	cmdline, err := cmdlineSegment(p.Cmdline, pvhCmdlineMax, "COMMAND_LINE_SIZE", mem)
	if err != nil {
		return nil, err
	}
	if err := mem.checkLow("start info", startInfoAddr, pageSize); err != nil {
		return nil, err
	}
	var segs []Segment
	for _, s := range img.segments {
		segs = append(segs, Segment{Addr: s.paddr, Data: s.data, Size: s.memSize, Name: "kernel", Source: FromKernel, Offset: s.offset})
	}
	var initrd uint64
	if len(p.Initrd) > 0 {
		initrd, err = mem.placeInitrd(uint64(len(p.Initrd)), pvhInitrdEnd, false, img.extent())
		if err != nil {
			return nil, err
		}
		segs = append(segs, initrdSegment(initrd, p.Initrd))
	}
	info := startInfo(initrd, p)
	segs = append(segs, Segment{Addr: startInfoAddr, Data: info, Size: uint64(len(info)), Name: "start_info"}, cmdline)
	return &Plan{
		Kind:     Vmlinux,
		Segments: segs,
		Entry:    Entry{Mode: PVH, PC: entry, Arg: startInfoAddr},
		Mapping:  img.mapping(img.segments[0].paddr, 0),
	}, nil
}

// startInfo builds hvm_start_info with the module list (the initrd at address
// initrd, if p has one) and the memory map behind it.
func startInfo(initrd uint64, p Params) []byte {
	le := binary.LittleEndian
	b := make([]byte, memmapOffset+len(p.Memory)*memmapEntrySize)
	le.PutUint32(b[0:], startInfoMagic)
	le.PutUint32(b[4:], startInfoVersion)
	le.PutUint64(b[24:], cmdlineAddr)
	le.PutUint64(b[32:], p.RSDP)
	le.PutUint64(b[40:], startInfoAddr+memmapOffset)
	le.PutUint32(b[48:], uint32(len(p.Memory)))
	if len(p.Initrd) > 0 {
		le.PutUint32(b[12:], 1)
		le.PutUint64(b[16:], startInfoAddr+modlistOffset)
		le.PutUint64(b[modlistOffset:], initrd)
		le.PutUint64(b[modlistOffset+8:], uint64(len(p.Initrd)))
	}
	for i, r := range p.Memory {
		e := b[memmapOffset+i*memmapEntrySize:]
		le.PutUint64(e[0:], r.Addr)
		le.PutUint64(e[8:], r.Size)
		le.PutUint32(e[16:], uint32(r.Type))
	}
	return b
}
