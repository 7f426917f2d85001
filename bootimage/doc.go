// Package bootimage turns a Linux kernel's file into a plan of what to put
// where in a guest's memory, and of how to enter it.
//
// Two kinds of file are known, told apart by their content:
//
//   - bzImage, entered by the 64-bit boot protocol
//     (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"; protocol 2.12
//     or newer with XLF_KERNEL_64);
//   - ELF vmlinux with a PVH entry note (Xen's public headers: elfnote.h, note
//     type 18 XEN_ELFNOTE_PHYS32_ENTRY; arch-x86/hvm/start_info.h version 1),
//     entered in 32-bit protected mode.
//
// Low memory belongs to the loader until the kernel runs. What it needs there
// is at fixed addresses; kernel and initrd lie at 1 MiB and above:
//
//	0x00500            GDT                       the machine's
//	0x06000..0x07000   hvm_start_info + lists    PVH only
//	0x07000..0x08000   boot_params (zero page)   bzImage only
//	0x08000..0x09000   setup_data: random seed    bzImage only
//	0x09000..0x0f000   page tables               the machine's
//	0x20000..0x30000   command line, NUL-ended
//	0x9fc00..0x100000  not used: BIOS data, ROMs, ACPI tables
//	0x100000...        kernel, at its preferred address or above
//	...end of RAM      initrd, as high as it may lie
//
// A bzImage runs at its pref_address if init_size bytes of RAM are there, else, if
// relocatable, at the next multiple of its alignment above that has them, always
// below 4 GiB; an ELF kernel at the physical addresses of its program headers. The
// initrd ends at the top of RAM or, if that is lower, at initrd_addr_max. Where it
// does not fit so and the kernel has XLF_CAN_BE_LOADED_ABOVE_4G, it goes to the top
// of RAM wherever that is, with ext_ramdisk_image holding the address's upper half;
// that flag lifts initrd_addr_max too, but low is what every loader uses and every
// kernel is tested with. By PVH, an initrd stays below 4 GiB. Small guests may have
// it below the kernel.
//
// Where the caller has unpacked the kernel that a bzImage carries (package payload), it is
// entered directly, at its ELF entry in long mode with boot_params, and the bzImage's decompressor
// never runs. What that would have done is done here: the segments are laid out from
// one address on, which is the bzImage's as above or one chosen by chance (package kaslr), and the
// relocations for a virtual address, chosen too, are left to the caller to apply.
//
// The parts of a bzImage that matter here:
//
//	0x001f1            setup header, ends at 0x202 + the byte at 0x201
//	kernel_version + 0x200                       version string
//	(setup_sects+1)*512                          protected-mode code, loaded
//	  + 0x200                                    64-bit entry
//	  + syssize*16                               end; a signature may follow
//
// Everything in the kernel's file is foreign input. Fields are checked before
// use, work and memory are bounded by small constants and never by what a
// header claims, and each fault is an error of one line. The bytes of kernel
// and initrd are not copied, so both may be memory mappings.
//
// Left out: entry in 16-bit and 32-bit mode, zImage, the EFI handover, E820 maps of more
// than 128 entries, relocating an ELF kernel that comes by itself (which newer ones allow
// by note 19, XEN_ELFNOTE_PHYS32_RELOC), and 5-level paging, which only the decompressor
// turns on.
package bootimage
