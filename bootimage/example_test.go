package bootimage_test

import (
	"fmt"
	"log"
	"os"

	"govmm/bootimage"
)

// A monitor reads the kernel, asks for a plan, copies the segments into the guest's
// memory, and starts the boot processor as the plan's entry says.
func ExampleLoad() {
	kernel, err := os.ReadFile("testdata/example.elf") // a few halting instructions
	if err != nil {
		log.Fatal(err)
	}
	plan, err := bootimage.Load(kernel, bootimage.Params{
		Cmdline: "console=ttyS0",
		Memory: []bootimage.MemoryRange{
			{Addr: 0, Size: 0xa0000, Type: bootimage.RAM},
			{Addr: 0x100000, Size: 31 << 20, Type: bootimage.RAM},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ram := make([]byte, 32<<20)
	for _, s := range plan.Segments {
		copy(ram[s.Addr:], s.Data)
		fmt.Printf("%-12s at %#8x, %d bytes\n", s.Name, s.Addr, s.Size)
	}
	fmt.Printf("%s: %s entry at %#x with %#x\n", plan.Kind, plan.Entry.Mode, plan.Entry.PC, plan.Entry.Arg)
	// Output:
	// kernel       at 0x1000000, 4096 bytes
	// start_info   at   0x6000, 176 bytes
	// command line at  0x20000, 14 bytes
	// ELF vmlinux: PVH entry at 0x1000000 with 0x6000
}

func ExampleIdentify() {
	_, err := bootimage.Identify([]byte("#!/bin/sh\n"))
	fmt.Println("vmlinuz:", err)
	// Output: vmlinuz: text file, not a kernel
}
