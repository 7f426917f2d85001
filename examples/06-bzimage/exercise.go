package main

// The exercises of lesson 6. Change what stands here, then: go test ./examples/06-bzimage -exercise

// Exercise 1: the version of a kernel, from its file: "6.12.117-govmm (govmm@govmm) #1 SMP ...". The field kernel_version at 0x20e, 16 bits, says
// where it is, less 0x200; it ends with a zero byte. The file is anybody's: what points out of it is no version, and no reason to crash.
func version(image []byte) string {
	return ""
}

// A piece of the memory map, in bytes.
type piece struct{ addr, size uint64 }

// Exercise 2: the pieces of RAM of a guest with size bytes, for the memory map, lowest first. As in bootParams there is none from 0x9fc00 to 1 MiB,
// and none from 3 GiB to 4 GiB, where a PC has its devices: what does not fit below goes to 4 GiB and above. size is at least 2 MiB.
func ramPieces(size uint64) []piece {
	return []piece{{0, 0x9fc00}, {1 << 20, size - 1<<20}}
}

// Exercise 3: the highest address for an initrd of size bytes, a multiple of 4096, in RAM from 1 MiB to ramEnd: its last byte is at most at limit
// (the field initrd_addr_max), and it does not overlap the kernel. false if there is none.
func placeInitrd(size, ramEnd, limit uint64, kernel piece) (addr uint64, ok bool) {
	return (ramEnd - size) &^ 4095, true
}
