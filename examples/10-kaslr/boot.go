package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"regexp"

	"govmm/bootimage"
	"govmm/machine"
)

var kernelOffset = regexp.MustCompile(`Kernel Offset: 0x[0-9a-f]+`)

// bootMoved boots the kernel as govmm does. It has no initrd and no disk, so it panics; and a kernel that panics says how far it was moved.
func bootMoved(image, unpacked []byte) error {
	plan, err := bootimage.Load(image, bootimage.Params{
		Cmdline: machine.DefaultCmdline + " quiet", Unpacked: unpacked, Random: rand.Reader, RSDP: 0xe0000, // machine puts ACPI tables there
		Memory: []bootimage.MemoryRange{{Addr: 0, Size: 0x9fc00, Type: bootimage.RAM}, {Addr: 1 << 20, Size: ramSize - 1<<20, Type: bootimage.RAM}},
	})
	if err != nil {
		return err
	}
	delta := uint64(0)
	if plan.Relocation != nil { // there is nothing to do where chance has chosen the place that it was linked for
		delta = plan.Relocation.Delta
	}
	fmt.Printf("the host:  moved by %#x\n", delta)
	var console bytes.Buffer
	m, err := machine.New(machine.Config{Image: plan, Memory: ramSize, Console: &console})
	if err != nil {
		return err
	}
	defer m.Close()
	if _, err := m.Run(context.Background()); err != nil {
		return err
	}
	said := kernelOffset.FindString(console.String())
	fmt.Printf("the guest: %s, which is the same: %v\n", said, said == fmt.Sprintf("Kernel Offset: %#x", delta))
	return nil
}
