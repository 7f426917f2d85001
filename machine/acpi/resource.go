package acpi

// This file encodes resource descriptors (6.4): what a device decodes and which
// interrupts it raises, as its _CRS object says.

// Tags of descriptors. A small one has its length in the low 3 bits (6.4.2), a
// large one in the next two bytes (6.4.3).
const (
	tagIRQ         = 0x20 | 2
	tagIOPort      = 0x40 | 7
	tagEnd         = 0x78 | 1
	tagMemory32    = 0x86
	tagExtendedIRQ = 0x89
)

// resources is the buffer with the given descriptors.
func resources(descriptors ...[]byte) []byte {
	// A checksum of 0 is taken as right (6.4.2.9).
	end := []byte{tagEnd, 0}
	return amlBuffer(concat(concat(descriptors...), end))
}

// ioPorts describes ports at a fixed address: IO (Decode16, first, first, 1, n)
// (6.4.2.5).
func ioPorts(first uint16, n uint8) []byte {
	const decode16 = 1 << 0
	return encode(struct {
		Tag, Information uint8
		Minimum, Maximum uint16
		Alignment        uint8
		Length           uint8
	}{tagIOPort, decode16, first, first, 1, n})
}

// isaInterrupt describes an ISA interrupt: IRQNoFlags () { n }. Without flags it is
// edge triggered, active high and not shared (6.4.2.1).
func isaInterrupt(n uint8) []byte {
	return encode(uint8(tagIRQ), uint16(1)<<n)
}

// memory32 describes a window of memory: Memory32Fixed (ReadWrite, base, size)
// (6.4.3.4).
func memory32(base, size uint32) []byte {
	const readWrite = 1 << 0
	return encode(struct {
		Tag         uint8
		Length      uint16
		Information uint8
		Base, Size  uint32
	}{tagMemory32, 9, readWrite, base, size})
}

// gsiEdge describes a global system interrupt:
// Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi } (6.4.3.6).
func gsiEdge(gsi uint32) []byte {
	const (
		consumer = 1 << 0
		edge     = 1 << 1 // bits 2 and 3 are 0: active high, exclusive
	)
	return encode(struct {
		Tag           uint8
		Length        uint16
		Flags         uint8
		Count         uint8
		InterruptList uint32
	}{tagExtendedIRQ, 6, consumer | edge, 1, gsi})
}

// Resource types of address space descriptors (6.4.3.5).
const (
	windowMemory = 0
	windowIO     = 1
	windowBus    = 2
)

const (
	tagWordSpace  = 0x88
	tagDWordSpace = 0x87

	// General flags: this device passes the range on to others (producer), decodes all of it, and
	// it can neither be moved nor grow.
	windowFixed = 1<<2 | 1<<3
)

// wordWindow describes a range of bus numbers or of ports that a bridge passes on: WordBusNumber or WordIO
// (ResourceProducer, MinFixed, MaxFixed, PosDecode, ...) (6.4.3.5.3).
func wordWindow(space uint8, base, size uint16) []byte {
	var flags uint8
	if space == windowIO {
		flags = 0b11 // the entire range, ISA addresses and others
	}
	return encode(struct {
		Tag                                               uint8
		Length                                            uint16
		Space, General, Flags                             uint8
		Granularity, Minimum, Maximum, Translation, Count uint16
	}{tagWordSpace, 13, space, windowFixed, flags, 0, base, base + (size - 1), 0, size})
}

// dwordMemoryWindow describes memory that a bridge passes on: DWordMemory (ResourceProducer, PosDecode, MinFixed,
// MaxFixed, NonCacheable, ReadWrite, ...) (6.4.3.5.2).
func dwordMemoryWindow(base, size uint32) []byte {
	const readWrite = 1 << 0
	return encode(struct {
		Tag                                               uint8
		Length                                            uint16
		Space, General, Flags                             uint8
		Granularity, Minimum, Maximum, Translation, Count uint32
	}{tagDWordSpace, 23, windowMemory, windowFixed, readWrite, 0, base, base + (size - 1), 0, size})
}
