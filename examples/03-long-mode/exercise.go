package main

import "govmm/machine/memory"

// The exercises of lesson 3. Change what stands here, then: go test ./examples/03-long-mode -exercise

// Exercise 1: page tables that map the first GiB to itself, so that paging changes nothing for the guest: a table of level 4 at base, one of
// level 3 behind it, and one of level 2 whose entries are pages of 2 MiB. Bit 7 of an entry says that it is a page and no table.
func identity(base uint64) []byte { return make([]byte, 3*4096) }

// Exercise 2: the way of the processor through the page tables, as a program. root is the address of the table of level 4. A page may be
// one of 4 KiB, 2 MiB (bit 7 at level 2) or 1 GiB (bit 7 at level 3). Bits 12 to 51 of an entry are the address. ok is false where an entry is not
// present, or a table lies outside the memory: the tables are the guest's, and it may write there what it likes.
func walk(ram *memory.Memory, root, virtual uint64) (physical uint64, ok bool) { return 0, false }

// Exercise 3: a guest that begins at 0x1000 in protected mode without paging and switches to long mode by itself. Page tables for it lie at
// 0x10000 (those of exercise 1), and in the table of descriptors, which is loaded, 0x18 is the selector of a segment of 64-bit code.
// The registers are CR4, CR3, EFER (number 0xc0000080, with RDMSR and WRMSR) and CR0, in this order; then a far jump. In the end it
// runs the guest of the lesson, which is to say 6.
var toLong = guest
