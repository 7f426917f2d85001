package main

import "encoding/binary"

// bootParams is what the kernel is told, a page of fields. The names are those of Documentation/arch/x86/boot.rst and zero-page.rst.
func bootParams(image []byte, initrdAddr uint64, initrdSize int) []byte {
	p, le := make([]byte, 4096), binary.LittleEndian
	copy(p[0x1f1:], image[0x1f1:0x202+int(image[0x201])]) // the setup header, as the kernel's file has it
	p[0x210] = 0xff                                       // type_of_loader: one without a number
	le.PutUint32(p[0x218:], uint32(initrdAddr))           // ramdisk_image
	le.PutUint32(p[0x21c:], uint32(initrdSize))           // ramdisk_size
	le.PutUint32(p[0x228:], cmdlineAddr)                  // cmd_line_ptr
	p[0x1e8] = 2                                          // e820_entries
	putE820(p[0x2d0:], 0, 0x9fc00)                        // e820_table: what a PC has below 640 KiB
	putE820(p[0x2d0+20:], 1<<20, ramSize-1<<20)           // and from 1 MiB on
	return p
}

// putE820 writes an entry of the memory map: there is RAM at addr.
func putE820(entry []byte, addr, size uint64) {
	binary.LittleEndian.PutUint64(entry[0:], addr)
	binary.LittleEndian.PutUint64(entry[8:], size)
	binary.LittleEndian.PutUint32(entry[16:], 1) // RAM
}
