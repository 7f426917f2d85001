package bootimage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Offsets in a bzImage and, for those of the setup header, in boot_params too
// (boot.rst, "The Real-Mode Kernel Header").
const (
	offSetupSects   = 0x1f1
	offSyssize      = 0x1f4
	offVidMode      = 0x1fa
	offBootFlag     = 0x1fe
	offJump         = 0x200
	offHeader       = 0x202
	offVersion      = 0x206
	offKernelVer    = 0x20e
	offTypeOfLoader = 0x210
	offLoadflags    = 0x211
	offCode32Start  = 0x214
	offRamdiskImage = 0x218
	offRamdiskSize  = 0x21c
	offHeapEndPtr   = 0x224
	offCmdLinePtr   = 0x228
	offInitrdMax    = 0x22c
	offKernelAlign  = 0x230
	offRelocatable  = 0x234
	offXloadflags   = 0x236
	offCmdlineSize  = 0x238
	offSetupData    = 0x250
	offPrefAddress  = 0x258
	offInitSize     = 0x260
	endInitSize     = 0x264 // the last field that is read here
)

// Values of the setup header's fields (boot.rst, "Details of Header Fields").
const (
	bootFlag  = 0xaa55
	hdrMagic  = "HdrS"
	protocol  = 0x020c // 2.12 brought xloadflags and with it the 64-bit entry
	sectSize  = 512
	paragraph = 16

	defaultSetupSects = 4 // what 0 means

	loadedHigh = 1 << 0 // loadflags
	kaslrFlag  = 1 << 1
	quietFlag  = 1 << 5
	keepSegs   = 1 << 6
	canUseHeap = 1 << 7

	xlfKernel64 = 1 << 0 // xloadflags
	xlfAbove4G  = 1 << 1

	entry64 = 0x200 // from the start of the protected-mode code

	maxVersion = 256 // bytes of the version string that are looked at
)

// setupHeader is what a bzImage says of itself.
type setupHeader struct {
	protocol    uint16
	header      []byte // from offSetupSects to the header's end, aliases the file
	code        []byte // protected-mode code, aliases the file
	codeOffset  uint64 // of code in the file
	version     string
	initrdMax   uint64 // address of the last byte that the initrd may occupy
	align       uint64
	relocatable bool
	above4G     bool
	cmdlineMax  uint32
	prefAddress uint64
	initSize    uint64
}

func le16(b []byte, off int) uint16 { return binary.LittleEndian.Uint16(b[off:]) }
func le32(b []byte, off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
func le64(b []byte, off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }

func putLE32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

// parseBzImage reads and checks the setup header of a file that Identify takes
// for a bzImage.
func parseBzImage(file []byte) (*setupHeader, error) {
	if len(file) < endInitSize {
		return nil, fmt.Errorf("truncated bzImage: %d bytes, the setup header ends at %d", len(file), endInitSize)
	}
	h := &setupHeader{protocol: le16(file, offVersion)}
	if file[offLoadflags]&loadedHigh == 0 {
		return nil, errors.New("zImage, a kernel to be loaded below 1 MiB; a bzImage is needed")
	}
	if h.protocol < protocol {
		return nil, fmt.Errorf("bzImage of boot protocol %s; the 64-bit entry needs 2.12 (Linux 3.8) or newer", h.protocolString())
	}
	xlf := le16(file, offXloadflags)
	if xlf&xlfKernel64 == 0 {
		return nil, fmt.Errorf("32-bit bzImage (boot protocol %s without XLF_KERNEL_64); a 64-bit x86 kernel is needed", h.protocolString())
	}
	// The jump at 0x200 leaps over the header, so its distance is the header's size.
	end := offHeader + int(file[offJump+1])
	if end < endInitSize || end > len(file) {
		return nil, fmt.Errorf("bzImage with a setup header that ends at %#x; %#x or more is needed", end, endInitSize)
	}
	h.header = file[offSetupSects:min(end, offHeaderLimit)]
	if err := h.findCode(file); err != nil {
		return nil, err
	}
	h.version = versionString(file)
	h.initrdMax = uint64(le32(file, offInitrdMax))
	h.align = uint64(le32(file, offKernelAlign))
	h.relocatable = file[offRelocatable] != 0
	h.above4G = xlf&xlfAbove4G != 0
	h.cmdlineMax = le32(file, offCmdlineSize)
	h.prefAddress = le64(file, offPrefAddress)
	h.initSize = uint64(le32(file, offInitSize))
	return h, h.check()
}

// findCode cuts the protected-mode code out of the file. A signature or padding
// behind it is normal and stays out.
func (h *setupHeader) findCode(file []byte) error {
	start, size := uint64(setupEnd(file)), uint64(le32(file, offSyssize))*paragraph
	if size <= entry64 {
		return fmt.Errorf("bzImage with %d bytes of code (syssize), too few to hold the 64-bit entry", size)
	}
	if have := uint64(len(file)); start > have || size > have-start {
		return fmt.Errorf("truncated bzImage: %d bytes, the header says %d", have, start+size)
	}
	h.code, h.codeOffset = file[start:start+size:start+size], start
	return nil
}

// check refuses values with which no placement makes sense.
func (h *setupHeader) check() error {
	if h.align == 0 || h.align&(h.align-1) != 0 {
		return fmt.Errorf("bzImage with a kernel_alignment of %#x, which is no power of two", h.align)
	}
	if h.initSize < uint64(len(h.code)) {
		return fmt.Errorf("bzImage with an init_size of %d, less than its %d bytes of code", h.initSize, len(h.code))
	}
	return nil
}

func (h *setupHeader) protocolString() string {
	return fmt.Sprintf("%d.%02d", h.protocol>>8, h.protocol&0xff)
}

// setupEnd is the offset behind the boot sector and the setup sectors.
func setupEnd(file []byte) int {
	sects := int(file[offSetupSects])
	if sects == 0 {
		sects = defaultSetupSects
	}
	return (sects + 1) * sectSize
}

// versionString returns the text that kernel_version points to, without anything
// that is not printable ASCII, as it ends up on terminals.
func versionString(file []byte) string {
	ptr := int(le16(file, offKernelVer))
	if ptr == 0 {
		return ""
	}
	start, end := ptr+offJump, min(setupEnd(file), len(file))
	if start >= end {
		return ""
	}
	s := file[start:min(end, start+maxVersion)]
	for i, c := range s {
		if c < ' ' || c > '~' {
			s = s[:i]
			break
		}
	}
	return string(s)
}

// loadAddress chooses where the kernel is loaded and runs.
//
// That is pref_address wherever the kernel's init_size fits, else, for a
// relocatable kernel, the next multiple of its alignment above. Not below,
// whatever the protocol's text allows: startup_64 raises an address below
// pref_address (LOAD_PHYSICAL_ADDR) to it, and the kernel unpacks itself there, so
// loading low would hide from the kernel's user that RAM is too small and let it
// write where there is none.
func (h *setupHeader) loadAddress(mem *memoryMap) (uint64, error) {
	want := h.prefAddress
	if want == 0 && h.relocatable {
		want = highMemory
	}
	if h.relocatable {
		want, _ = alignUp(min(want, limit4G), h.align) // neither is near 64 bits
	}
	if want < highMemory || want >= limit4G {
		return 0, fmt.Errorf("bzImage that wants to lie at %#x, which is not between 1 MiB and 4 GiB", h.prefAddress)
	}
	end := want + h.initSize
	if end <= limit4G && mem.holds(span{want, end}) {
		return want, nil
	}
	if h.relocatable {
		if addr, ok := mem.lowest(want, h.initSize, h.align, limit4G); ok {
			return addr, nil
		}
	}
	if end > mem.lowEnd() {
		return 0, mem.tooSmall(end)
	}
	return 0, fmt.Errorf("the kernel needs %d MiB of RAM in one piece from %#x on, and the memory map has none", ceilMiB(h.initSize), want)
}

// loadBzImage plans the boot of a bzImage, by its own decompressor or, where p has the
// unpacked kernel, without.
func loadBzImage(file []byte, p Params, mem *memoryMap) (*Plan, error) {
	h, err := parseBzImage(file)
	if err != nil {
		return nil, err
	}
	cmdline, err := cmdlineSegment(p.Cmdline, h.cmdlineMax, "boot protocol "+h.protocolString(), mem)
	if err != nil {
		return nil, err
	}
	if err := mem.checkLow("boot parameters", bootParamsAddr, bootParamsSize); err != nil {
		return nil, err
	}
	plan := &Plan{Kind: BzImage, Version: h.version, Segments: []Segment{cmdline}}
	var at addresses
	if p.Random != nil {
		seed, err := rngSeed(p.Random, mem)
		if err != nil {
			return nil, err
		}
		plan.Segments = append(plan.Segments, seed)
		at.setupData = seed.Addr
	}
	if len(p.Unpacked) > 0 {
		err = h.planDirect(plan, &at, p, mem)
	} else {
		err = h.planSelfUnpacking(plan, &at, p, mem)
	}
	if err != nil {
		return nil, err
	}
	params := h.bootParams(at, p)
	plan.Segments = append(plan.Segments, Segment{Addr: bootParamsAddr, Data: params, Size: bootParamsSize, Name: "boot_params"})
	return plan, nil
}

// planSelfUnpacking adds the bzImage's code and the initrd.
func (h *setupHeader) planSelfUnpacking(plan *Plan, at *addresses, p Params, mem *memoryMap) (err error) {
	if at.kernel, err = h.loadAddress(mem); err != nil {
		return err
	}
	if at.initrd, err = h.addInitrd(plan, p, mem, at.kernel); err != nil {
		return err
	}
	plan.Segments = append(plan.Segments, Segment{
		Addr: at.kernel, Data: h.code, Size: h.initSize, Name: "kernel", Source: FromKernel, Offset: h.codeOffset,
	})
	plan.Entry = Entry{Mode: Linux64, PC: at.kernel + entry64, Arg: bootParamsAddr}
	return nil
}

// planDirect adds the unpacked kernel and the initrd. The initrd comes first, as high
// as it may lie, so that it does not tell where the kernel is.
func (h *setupHeader) planDirect(plan *Plan, at *addresses, p Params, mem *memoryMap) error {
	d, err := parseDirect(h, p.Unpacked)
	if err != nil {
		return err
	}
	usual, err := h.loadAddress(mem)
	if err != nil {
		return err
	}
	var taken []span
	if at.initrd, err = h.addInitrd(plan, p, mem, usual); err != nil {
		return err
	} else if at.initrd != 0 {
		taken = []span{{at.initrd, at.initrd + uint64(len(p.Initrd))}}
	}
	place, tables, err := d.choose(p, mem, usual, taken...)
	if err != nil {
		return err
	}
	at.kernel, at.kaslr = place.phys, place.randomized
	plan.Relocation = d.relocation(place, tables)
	plan.Segments = append(plan.Segments, d.segments(place.phys, plan.Relocation)...)
	plan.Direct, plan.Randomized = true, place.randomized
	plan.Mapping = d.img.mapping(place.phys, place.virtDelta)
	plan.Entry = Entry{Mode: Linux64, PC: place.phys + (d.entry - h.prefAddress), Arg: bootParamsAddr}
	return nil
}

// addInitrd places the initrd clear of a kernel at address kernel. It returns 0 if there is none.
func (h *setupHeader) addInitrd(plan *Plan, p Params, mem *memoryMap, kernel uint64) (uint64, error) {
	if len(p.Initrd) == 0 {
		return 0, nil
	}
	taken := span{kernel, kernel + h.initSize}
	addr, err := mem.placeInitrd(uint64(len(p.Initrd)), h.initrdMax+1, h.above4G, taken)
	if err != nil {
		return 0, err
	}
	plan.Segments = append(plan.Segments, initrdSegment(addr, p.Initrd))
	return addr, nil
}
