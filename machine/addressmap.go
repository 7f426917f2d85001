package machine

import (
	"fmt"

	"govmm/bootimage"
	"govmm/devices/pci"
	"govmm/devices/pm"
	"govmm/machine/memory"
)

// The guest-physical address map. Nothing in it is a setting: a guest finds what
// it needs through E820 and ACPI, so the figures only have to be legal, and one
// file that holds them all is easier to check than several that agree.
//
//	0x0000_0500  GDT of the boot processor         (64-bit entry only)
//	0x0000_6000  hvm_start_info                    (bootimage, PVH)
//	0x0000_7000  boot_params                       (bootimage, 64-bit entry)
//	0x0000_8000  setup_data                        (bootimage, 64-bit entry)
//	0x0000_9000  identity page tables              (64-bit entry only)
//	0x0002_0000  command line                      (bootimage)
//	0x0009_fc00  end of conventional memory
//	0x000e_0000  ACPI tables, RSDP first, to 1 MiB (reserved in E820)
//	0x0010_0000  RAM, the kernel, the initrd
//	0xc000_0000  the hole: no RAM from here to 4 GiB
//	0xc000_0000  registers of PCI devices, 256 MiB
//	0xd000_0000  virtio-mmio devices, one page each
//	0xe000_0000  configuration spaces of PCI bus 0, 1 MiB (ECAM; reserved in E820)
//	0xfec0_0000  I/O APIC, 0xfee0_0000 local APICs
//	0xfffb_c000  pages that KVM needs on Intel hosts
//	0x1_0000_0000  the rest of RAM
const (
	gdtAddr        = 0x500
	pageTablesAddr = 0x9000

	conventionalEnd = 0x9fc00 // top of usable RAM below 640 KiB; the last KiB is the EBDA's by custom
	acpiBase        = 0xe0000 // inside the range that ACPI 6.5, 5.2.5.1 lets an OS search for the RSDP
	acpiLimit       = 0x100000
	highRAM         = 0x100000 // 1 MiB: RAM that a kernel may load to

	holeStart = 0xc000_0000
	holeEnd   = 0x1_0000_0000

	pciMemoryBase  = 0xc000_0000
	pciMemorySize  = 0x1000_0000
	virtioMMIOBase = 0xd000_0000
	ecamBase       = 0xe000_0000
	ioapicAddr     = 0xfec0_0000
	localAPICAddr  = 0xfee0_0000

	// KVM keeps an identity-mapped page table and a task state segment for
	// real-mode guests on Intel processors without unrestricted guest
	// (api.rst, KVM_SET_IDENTITY_MAP_ADDR and KVM_SET_TSS_ADDR). One page and
	// three pages that the guest must not use.
	identityMapAddr = 0xfffb_c000
	tssAddr         = 0xfffb_d000
	kvmPagesEnd     = 0xfffc_0000
)

// I/O ports of the devices that every machine has.
const (
	serialPort     = 0x3f8 // COM1
	i8042Port      = 0x60
	rtcPort        = 0x70
	debugExitPort  = 0xf4 // where operating-system tutorials have QEMU's isa-debug-exit
	pm1EventPort   = 0x600
	pm1ControlPort = 0x604
	resetPort      = pm.ResetPort
	pciConfigPort  = 0xcf8
	pciPortsBase   = 0x1000 // of registers of PCI devices, up to the last port
	pciPortsSize   = 0xf000
)

// MarkPort is the I/O port at which a machine with a Timeline takes marks from its guest: a byte of 1
// says that the guest's init runs. The port means nothing on a PC; other values are kept for later.
const MarkPort = 0x690

// Interrupt lines, as global system interrupts of the one I/O APIC.
const (
	serialIRQ = 4
	sciIRQ    = 9
)

// s5SleepType is the SLP_TYP that means S5, told to the guest in the DSDT's \_S5 object.
const s5SleepType = 5

// virtioGSIs are the I/O APIC pins for virtio-mmio devices, in the order in which
// devices take them: those above the ISA lines first, then the ISA lines that
// no device of ours uses. Edge interrupts are not shared, so there are as many
// devices as pins.
var virtioGSIs = [...]uint32{16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 14, 15}

// Limits of a machine's size. New also asks for the host's: the width of its physical addresses
// and how many vCPUs its KVM allows.
const (
	MinMemory = 16 << 20
	MaxMemory = 1 << 40
	MaxCPUs   = 255 // 8-bit APIC IDs; the last, 255, is the broadcast
)

// e820 describes RAM to the guest (ACPI 6.5, chapter 15; boot.rst, e820_table).
func e820(ram []memory.Range) ([]bootimage.MemoryRange, error) {
	if len(ram) == 0 || ram[0].Base != 0 || ram[0].Size < MinMemory {
		return nil, fmt.Errorf("RAM must start at 0 and hold at least %d MiB there", MinMemory>>20)
	}
	m := []bootimage.MemoryRange{
		{Addr: 0, Size: conventionalEnd, Type: bootimage.RAM},
		{Addr: conventionalEnd, Size: 0xa0000 - conventionalEnd, Type: bootimage.Reserved},
		{Addr: acpiBase, Size: acpiLimit - acpiBase, Type: bootimage.Reserved},
		{Addr: highRAM, Size: ram[0].Size - highRAM, Type: bootimage.RAM},
		{Addr: ecamBase, Size: pci.ECAMSize, Type: bootimage.Reserved},
		{Addr: identityMapAddr, Size: kvmPagesEnd - identityMapAddr, Type: bootimage.Reserved},
	}
	for _, r := range ram[1:] {
		m = append(m, bootimage.MemoryRange{Addr: r.Base, Size: r.Size, Type: bootimage.RAM})
	}
	return m, nil
}
