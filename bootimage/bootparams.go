package bootimage

import "encoding/binary"

// Fields of struct boot_params outside the setup header
// (Documentation/arch/x86/zero-page.rst).
const (
	offACPIRSDP     = 0x070
	offExtRamdisk   = 0x0c0 // upper halves of ramdisk_image and ramdisk_size
	offExtRamdiskSz = 0x0c4
	offE820Entries  = 0x1e8
	offHeaderLimit  = 0x290 // room for the setup header ends here
	offE820Table    = 0x2d0
	e820EntrySize   = 20

	bootParamsSize = 4096
)

const (
	loaderUndefined = 0xff   // type_of_loader: no identifier assigned
	videoNormal     = 0xffff // vid_mode: "normal"

	// heapEnd is heap_end_ptr for the 64 KiB that the protocol's sample gives the
	// real-mode code. The 64-bit entry skips that code, yet wants the field written.
	heapEnd = 0xe000 - 0x200
)

// addresses are what boot_params has to say of the rest of the plan.
type addresses struct {
	kernel    uint64
	initrd    uint64 // counts if there is one
	setupData uint64 // of the first setup_data node; 0 for none
	kaslr     bool   // the kernel was moved on purpose and shall randomize its memory regions too
}

// bootParams builds the zero page. All of the page is zero that neither
// comes from the setup header nor is set here; above all the sentinel at 0x1ef,
// which tells the kernel that the page can be trusted.
func (h *setupHeader) bootParams(at addresses, p Params) []byte {
	le := binary.LittleEndian
	b := make([]byte, bootParamsSize)
	copy(b[offSetupSects:offHeaderLimit], h.header)

	le.PutUint16(b[offVidMode:], videoNormal)
	b[offTypeOfLoader] = loaderUndefined
	b[offLoadflags] = b[offLoadflags]&^(kaslrFlag|quietFlag|keepSegs) | loadedHigh | canUseHeap
	if at.kaslr {
		b[offLoadflags] |= kaslrFlag
	}
	le.PutUint16(b[offHeapEndPtr:], heapEnd)
	le.PutUint32(b[offCode32Start:], uint32(at.kernel)) // below 4 GiB: see loadAddress
	le.PutUint32(b[offCmdLinePtr:], cmdlineAddr)
	le.PutUint64(b[offSetupData:], at.setupData)

	size := uint64(len(p.Initrd))
	le.PutUint32(b[offRamdiskImage:], uint32(at.initrd))
	le.PutUint32(b[offRamdiskSize:], uint32(size))
	le.PutUint32(b[offExtRamdisk:], uint32(at.initrd>>32))
	le.PutUint32(b[offExtRamdiskSz:], uint32(size>>32))

	le.PutUint64(b[offACPIRSDP:], p.RSDP)
	b[offE820Entries] = uint8(len(p.Memory)) // at most 128: see newMemoryMap
	for i, r := range p.Memory {
		e := b[offE820Table+i*e820EntrySize:]
		le.PutUint64(e[0:], r.Addr)
		le.PutUint64(e[8:], r.Size)
		le.PutUint32(e[16:], uint32(r.Type))
	}
	return b
}
