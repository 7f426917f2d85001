package bootimage

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"govmm/bootimage/kaslr"
)

// ErrIndirect is in errors for a bzImage whose unpacked kernel cannot be entered
// directly, while the bzImage, which unpacks itself, may well boot. Test for it with
// errors.Is.
var ErrIndirect = errors.New("the kernel cannot be entered directly")

// minDirectAlign is what startup_64 insists on: it maps the kernel by pages of 2 MiB
// (arch/x86/kernel/head64.c, __startup_64).
const minDirectAlign = 2 * mib

// Relocation moves a kernel that is entered directly to its virtual address.
type Relocation struct {
	Addr, Size uint64 // guest-physical: all of the kernel's bytes, from its first segment's on
	LinkVirt   uint64 // virtual address as linked of the byte at Addr
	Delta      uint64 // how much higher it will be mapped
	Tables     kaslr.Relocs
}

// Apply relocates load, the bytes at Addr, once the plan's segments have been copied there.
// An error is the kernel's fault, and leaves load as it was.
func (r *Relocation) Apply(load []byte) error {
	return r.Tables.Apply(load, r.LinkVirt, r.Delta)
}

// direct is a bzImage's kernel as it was unpacked on the host: what the kernel's own
// decompressor would have done remains to be done (arch/x86/boot/compressed/misc.c,
// extract_kernel): find a place, lay the ELF segments out, relocate.
type direct struct {
	header   *setupHeader
	unpacked []byte
	img      *elfImage
	entry    uint64 // e_entry, a physical address as linked
}

// parseDirect checks the unpacked kernel against the header it came with.
func parseDirect(h *setupHeader, unpacked []byte) (*direct, error) {
	indirect := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrIndirect, fmt.Sprintf(format, args...))
	}
	img, err := parseELF(unpacked)
	if err != nil {
		return nil, indirect("what it unpacks to is a %v", err)
	}
	d := &direct{header: h, unpacked: unpacked, img: img, entry: le64(unpacked, elfEntry)}
	linked, have := span{h.prefAddress, h.prefAddress + h.initSize}, img.extent()
	switch {
	case h.prefAddress > limit4G || have.start != linked.start || have.end > linked.end:
		return nil, indirect("it is linked at %v, its header has room at %v", have, linked)
	case h.relocatable && h.align < minDirectAlign:
		return nil, indirect("its alignment is %#x, less than 2 MiB", h.align)
	case !img.contains(d.entry):
		return nil, indirect("its entry %#x lies in none of its segments", d.entry)
	}
	return d, nil
}

// contains reports whether there are bytes of the file at the physical address addr.
func (img *elfImage) contains(addr uint64) bool {
	for _, s := range img.segments {
		if s.paddr <= addr && addr-s.paddr < uint64(len(s.data)) {
			return true
		}
	}
	return false
}

// place is where a kernel comes to lie.
type place struct {
	phys       uint64 // of its first byte
	virtDelta  uint64 // how much higher than linked it is mapped
	randomized bool
}

// choose randomizes the place, within the limits that the kernel's own randomization
// keeps (arch/x86/boot/compressed/kaslr.c), and below 4 GiB, which is all that the entry's page tables
// map. usual is where the kernel lies otherwise; taken is what lies elsewhere in RAM.
func (d *direct) choose(p Params, mem *memoryMap, usual uint64, taken ...span) (place, kaslr.Relocs, error) {
	fixed := place{phys: usual}
	if p.Random == nil || hasWord(p.Cmdline, "nokaslr") || !d.header.relocatable {
		return fixed, kaslr.Relocs{}, nil
	}
	tables, err := kaslr.Tables(d.unpacked)
	if errors.Is(err, kaslr.ErrNone) {
		return fixed, kaslr.Relocs{}, nil // built without CONFIG_RANDOMIZE_BASE
	}
	if err != nil {
		return fixed, kaslr.Relocs{}, err
	}
	limits := kaslr.Limits{Align: d.header.align, PrefAddress: d.header.prefAddress, Size: d.header.initSize}
	for _, r := range mem.ram {
		if start, end := max(r.start, highMemory), min(r.end, limit4G); start < end && !restrictsRAM(p.Cmdline) {
			limits.Free = append(limits.Free, kaslr.Range{Addr: start, Size: end - start})
		}
	}
	for _, t := range taken {
		limits.Reserved = append(limits.Reserved, kaslr.Range{Addr: t.start, Size: t.end - t.start})
	}
	phys, delta, err := kaslr.Choose(p.Random, limits)
	if errors.Is(err, kaslr.ErrNoRoom) {
		// Only the virtual address can be random.
		limits.Free, limits.Reserved = []kaslr.Range{{Addr: usual, Size: limits.Size}}, nil
		phys, delta, err = kaslr.Choose(p.Random, limits)
	}
	if errors.Is(err, kaslr.ErrNoRoom) {
		return fixed, kaslr.Relocs{}, nil // the usual place is below all that are chosen
	}
	if err != nil {
		return fixed, kaslr.Relocs{}, err
	}
	return place{phys, delta, true}, tables, nil
}

// restrictsRAM reports whether the command line takes RAM away from the kernel, so that
// only the usual place is sure to be left (kaslr.c, handle_mem_options).
func restrictsRAM(cmdline string) bool {
	for w := range strings.FieldsSeq(cmdline) {
		for _, name := range []string{"mem=", "memmap=", "hugepages="} {
			if strings.HasPrefix(w, name) {
				return true
			}
		}
	}
	return false
}

// hasWord reports whether a word stands on the command line, wherever, as the kernel looks for it
// (arch/x86/boot/cmdline.c, __cmdline_find_option_bool).
func hasWord(cmdline, word string) bool { return slices.Contains(strings.Fields(cmdline), word) }

// segments lays the kernel out from phys on. Where a relocation is to follow, segments are cut
// so that those that it changes for the most part are apart from the others.
func (d *direct) segments(phys uint64, r *Relocation) []Segment {
	changes := func(uint64) bool { return false }
	if r != nil {
		pages := r.Tables.Pages(r.LinkVirt, r.Size, changeBlock)
		changes = func(off uint64) bool {
			return off/changeBlock < uint64(len(pages)) && pages[off/changeBlock] > changeBlock/pageSize/2
		}
	}
	var segs []Segment
	for _, s := range d.img.segments {
		segs = d.cut(segs, s, phys, changes)
	}
	return segs
}

// changeBlock is the size of the pieces that are looked at: a huge page's. A kernel's text has a place in nearly every page, the
// rest has few.
const changeBlock = 2 * mib

// cut adds the pieces of s.
func (d *direct) cut(segs []Segment, s elfSegment, phys uint64, changes func(off uint64) bool) []Segment {
	start := s.paddr - d.header.prefAddress // all offsets here are from the kernel's first byte
	for at, end := start, start+s.memSize; at < end; {
		changed := changes(at)
		next := at
		for next < end && changes(next) == changed {
			next = min(next-next%changeBlock+changeBlock, end)
		}
		from, to := min(at-start, uint64(len(s.data))), min(next-start, uint64(len(s.data)))
		segs = append(segs, Segment{
			Addr: phys + at, Data: s.data[from:to:to], Size: next - at, Name: "kernel",
			Source: FromUnpacked, Offset: s.offset + (at - start), Changed: changed,
		})
		at = next
	}
	return segs
}

// relocation is what is left to do after copying; nil if nothing is.
func (d *direct) relocation(at place, tables kaslr.Relocs) *Relocation {
	if at.virtDelta == 0 {
		return nil
	}
	last := d.img.segments[len(d.img.segments)-1]
	return &Relocation{
		Addr:     at.phys,
		Size:     last.paddr + uint64(len(last.data)) - d.header.prefAddress,
		LinkVirt: d.img.segments[0].vaddr,
		Delta:    at.virtDelta,
		Tables:   tables,
	}
}

// entropy is the randomness of a seed for the kernel, in bytes: SHA-256's, as
// other loaders give.
const entropy = 32

// rngSeed is a setup_data node with a random seed (arch/x86/include/uapi/asm/setup_data.h,
// SETUP_RNG_SEED; Linux 6.0 and newer. Older ones skip it). The kernel wipes it when read.
func rngSeed(random io.Reader, mem *memoryMap) (Segment, error) {
	const header, typeRNGSeed = 16, 9
	b := make([]byte, header+entropy)
	putLE32(b[8:], typeRNGSeed)
	putLE32(b[12:], entropy)
	if _, err := io.ReadFull(random, b[header:]); err != nil {
		return Segment{}, fmt.Errorf("random numbers for the kernel's seed: %w", err)
	}
	if err := mem.checkLow("random seed", setupDataAddr, uint64(len(b))); err != nil {
		return Segment{}, err
	}
	return Segment{Addr: setupDataAddr, Data: b, Size: uint64(len(b)), Name: "random seed"}, nil
}
