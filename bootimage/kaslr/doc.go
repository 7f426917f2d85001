// Package kaslr relocates an unpacked Linux/x86-64 kernel, and chooses at random
// where to: what the kernel's own decompressor does when it unpacks itself
// (arch/x86/boot/compressed: misc.c, handle_relocations; kaslr.c).
//
// An unpacked kernel built with CONFIG_X86_NEED_RELOCS is an ELF vmlinux with the
// output of arch/x86/tools/relocs behind it, without anything in between:
//
//	0, then 64-bit values that grow with the kernel's virtual address
//	0, then 32-bit values that shrink with it (inverse)
//	0, then 32-bit values that grow with it
//
// Each is a list of places: the lower halves of virtual addresses as linked, 4
// bytes each, little-endian. The kernel reads this backwards from the end, so the
// three lists end at the zeroes, and where the ELF file ends does not matter to it.
// Here it does: the zeroes from there on tell how many lists there are. Kernels
// whose per-CPU data is linked at its place instead of at 0 have no inverse list,
// nor its zero.
//
// Places in the per-CPU section, which older kernels link at virtual address 0, are
// given as if it were linked where it is loaded. So a place's offset from the
// kernel's link address is always the same as that of its physical address.
//
// The kernel is moved twice, independently: physically, which it finds out and
// copes with itself, and virtually, which takes the relocations. That it has been
// moved on purpose, it learns from KASLR_FLAG in the setup header's loadflags.
package kaslr
