package bootimage

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// The parts of ELF that a kernel needs (System V ABI, generic part, "Object Files"
// and "Program Loading"; class 64, little-endian). debug/elf is not used, because it
// reads sections and symbols too and allocates by what the headers say.
const (
	elfMagic      = "\x7fELF"
	elfHeaderSize = 64
	progSize      = 56

	elfClass      = 4 // offsets in e_ident
	elfData       = 5
	elfClass64    = 2
	elfDataLittle = 1

	elfType         = 16 // offsets in the header
	elfMachine      = 18
	elfEntry        = 24
	elfProgOffset   = 32
	elfProgEntry    = 54
	elfProgCount    = 56
	elfTypeExec     = 2
	elfTypeDyn      = 3
	elfMachine386   = 3
	elfMachineX8664 = 62

	progFileSize = 32 // offset in a program header

	progTypeLoad = 1 // p_type
	progTypeNote = 4

	// maxProgHeaders bounds the work on a hostile file. A kernel has about five.
	maxProgHeaders = 64

	// maxNoteBytes bounds how much of one note segment is read. A kernel's has some
	// hundred bytes; the Xen notes come first.
	maxNoteBytes = 1 << 20
)

// elfMachines names what e_machine may say in a kernel for another machine.
var elfMachines = map[uint16]string{
	2: "SPARC", 3: "32-bit x86", 8: "MIPS", 20: "PowerPC", 21: "64-bit PowerPC", 22: "s390",
	40: "32-bit Arm", 43: "SPARC64", 62: "x86-64", 183: "arm64", 243: "RISC-V", 258: "LoongArch",
}

// elfSegment is a PT_LOAD program header with its bytes.
type elfSegment struct {
	vaddr, paddr uint64
	data         []byte // p_filesz bytes, alias the file
	offset       uint64 // of data in the file
	header       uint64 // offset of the program header in the file
	memSize      uint64 // at least len(data)
}

func (s elfSegment) span() span { return span{s.paddr, s.paddr + s.memSize} }

// elfImage is a checked ELF executable: segments in the order of their physical
// addresses, not overlapping, and the note segments' bytes.
type elfImage struct {
	segments []elfSegment
	notes    []elfNotes
}

// elfNotes is a PT_NOTE segment.
type elfNotes struct {
	data  []byte
	align uint64 // of name and descriptor: 4 or 8
}

// checkELFHeader judges a file by its first elfHeaderSize bytes.
func checkELFHeader(head []byte) error {
	if len(head) <= elfData {
		return fmt.Errorf("truncated ELF file: %d bytes", len(head))
	}
	if head[elfData] != elfDataLittle {
		return errors.New("big-endian ELF file, not an x86-64 kernel")
	}
	if len(head) < elfMachine+2 {
		return fmt.Errorf("truncated ELF file: %d bytes", len(head))
	}
	if machine := le16(head, elfMachine); machine != elfMachineX8664 {
		name, ok := elfMachines[machine]
		if !ok {
			name = fmt.Sprintf("machine type %d", machine)
		}
		return fmt.Errorf("ELF file for %s, not an x86-64 kernel", name)
	}
	if head[elfClass] != elfClass64 {
		return errors.New("32-bit ELF file, not an x86-64 kernel")
	}
	if t := le16(head, elfType); t != elfTypeExec && t != elfTypeDyn {
		return fmt.Errorf("ELF file of type %d, not an executable kernel", t)
	}
	return nil
}

// parseELF reads the program headers of file.
func parseELF(file []byte) (*elfImage, error) {
	if err := checkELFHeader(file); err != nil {
		return nil, err
	}
	if len(file) < elfHeaderSize {
		return nil, fmt.Errorf("truncated ELF file: %d bytes", len(file))
	}
	n, off := int(le16(file, elfProgCount)), le64(file, elfProgOffset)
	if n == 0 || n > maxProgHeaders {
		return nil, fmt.Errorf("ELF file with %d program headers; a kernel has 1 to %d", n, maxProgHeaders)
	}
	if size := le16(file, elfProgEntry); size != progSize {
		return nil, fmt.Errorf("ELF file with program headers of %d bytes instead of %d", size, progSize)
	}
	if _, ok := cut(file, off, uint64(n)*progSize); !ok {
		return nil, fmt.Errorf("truncated ELF file: %d bytes, the program headers end beyond", len(file))
	}
	img := &elfImage{}
	for i := range n {
		if err := img.addProgHeader(file, off, i); err != nil {
			return nil, err
		}
	}
	return img, img.checkSegments()
}

// addProgHeader adds what program header i, of those at off, describes.
func (img *elfImage) addProgHeader(file []byte, off uint64, i int) error {
	at := off + uint64(i)*progSize
	h := file[at:]
	typ := le32(h, 0)
	if typ != progTypeLoad && typ != progTypeNote {
		return nil
	}
	data, ok := cut(file, le64(h, 8), le64(h, progFileSize))
	if !ok {
		return fmt.Errorf("truncated ELF file: %d bytes, segment %d ends beyond", len(file), i)
	}
	if typ == progTypeNote {
		n := elfNotes{data: data[:min(len(data), maxNoteBytes)], align: 4}
		if le64(h, 48) == 8 {
			n.align = 8
		}
		img.notes = append(img.notes, n)
		return nil
	}
	s := elfSegment{vaddr: le64(h, 16), paddr: le64(h, 24), data: data, offset: le64(h, 8), header: at, memSize: le64(h, 40)}
	if s.memSize < uint64(len(data)) {
		return fmt.Errorf("ELF file whose segment %d has %d bytes in the file, but %d in memory", i, len(data), s.memSize)
	}
	if s.memSize > math.MaxUint64-s.paddr {
		return fmt.Errorf("ELF file whose segment %d at %#x is %#x bytes long", i, s.paddr, s.memSize)
	}
	if s.memSize > 0 {
		img.segments = append(img.segments, s)
	}
	return nil
}

// checkSegments sorts the segments and refuses overlaps.
func (img *elfImage) checkSegments() error {
	if len(img.segments) == 0 {
		return errors.New("ELF file without anything to load")
	}
	slices.SortFunc(img.segments, func(a, b elfSegment) int { return cmp.Compare(a.paddr, b.paddr) })
	for i := 1; i < len(img.segments); i++ {
		a, b := img.segments[i-1].span(), img.segments[i].span()
		if a.overlaps(b) {
			return fmt.Errorf("ELF file with overlapping segments at %v and %v", a, b)
		}
	}
	return nil
}

// extent is what the kernel takes, the gaps between its segments included: Linux
// frees those as soon as it runs, so nothing else may lie there.
func (img *elfImage) extent() span {
	return span{img.segments[0].paddr, img.segments[len(img.segments)-1].span().end}
}

// mapping is that of a kernel whose first byte comes to lie at phys, and is mapped delta higher than linked. Segments whose
// virtual address is another kind of number, as that of per-CPU variables, lie in it with the address that their neighbours suggest.
func (img *elfImage) mapping(phys, delta uint64) Mapping {
	first := img.segments[0]
	m := Mapping{Virt: first.vaddr + delta, Phys: phys, Delta: delta}
	for _, s := range img.segments {
		if s.vaddr-s.paddr == first.vaddr-first.paddr {
			m.Size = s.span().end - first.paddr
		}
	}
	return m
}

// note returns the descriptor of the first note with that owner and type.
func (img *elfImage) note(owner string, typ uint32) ([]byte, bool) {
	for _, n := range img.notes {
		if desc, ok := n.find(owner, typ); ok {
			return desc, true
		}
	}
	return nil, false
}

// find walks over the notes of one segment: three words (size of the name, size of
// the descriptor, type), the name with its NUL, the descriptor, both padded.
func (n elfNotes) find(owner string, typ uint32) ([]byte, bool) {
	const head = 12
	rest := n.data
	for len(rest) >= head {
		nameSize, descSize := uint64(le32(rest, 0)), uint64(le32(rest, 4))
		// 32-bit sizes, so the sums cannot wrap.
		descStart, _ := alignUp(head+nameSize, n.align)
		name, ok := cut(rest, head, nameSize)
		if !ok {
			return nil, false
		}
		desc, ok := cut(rest, descStart, descSize)
		if !ok {
			return nil, false
		}
		if le32(rest, 8) == typ && string(name) == owner+"\x00" {
			return desc, true
		}
		next, _ := alignUp(descStart+descSize, n.align)
		rest = rest[min(next, uint64(len(rest))):]
	}
	return nil, false
}

// cut returns b[off:off+size], if there is that much.
func cut(b []byte, off, size uint64) ([]byte, bool) {
	have := uint64(len(b))
	if off > have || size > have-off {
		return nil, false
	}
	return b[off : off+size : off+size], true
}
