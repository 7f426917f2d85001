// Package acpi builds the ACPI tables of a PC-like guest: the description of
// its fixed hardware, interrupt controllers and devices that an operating
// system reads at boot.
//
// The tables follow the ACPI specification, release 6.5 (August 2022), whose
// sections this package cites by number. [Build] makes
//
//   - the RSDP, where a system starts to read, and the XSDT, the list of tables
//     (5.2.5, 5.2.8);
//   - the FADT and FACS: power and reset registers, and which legacy devices
//     there are (5.2.9, 5.2.10);
//   - the MADT: local APICs, the I/O APIC and how ISA interrupts arrive (5.2.12);
//   - the MCFG, if there is PCI: where configuration spaces are in memory;
//   - the DSDT: a program in the ACPI Machine Language, which here only declares
//     names: the soft-off state, processors, serial ports, the clock, the PCI host
//     bridge and virtio-mmio devices (5.2.11.1, chapter 20).
//
// The files follow that order: table.go has the RSDP, the XSDT and what tables
// have in common, then come fadt.go, madt.go, pci.go and dsdt.go; aml.go and resource.go
// encode what the DSDT is made of. The golden files in testdata show the result.
//
// The hardware described is of the full kind, not hardware-reduced: it has a PM1
// register block. It is always in ACPI mode, and without an SMI command port there
// is no way to leave it (4.8.2.5). Left out are the power management timer,
// general-purpose events, sleep states other than soft off, processor power
// states, and everything that runs: the DSDT has no methods.
//
// All inputs come from the machine's configuration, none from the guest. The
// guest may overwrite the tables; nothing reads them back.
package acpi

import "fmt"

// Config says what the tables describe. Addresses are guest-physical, ports are
// x86 I/O ports. Build reports every field that is out of range.
type Config struct {
	// Base is where the tables go, RSDP first. It is a multiple of 64.
	Base uint64
	// Limit is the first address behind the room for the tables, at most 4 GiB.
	// Memory in [Base, Limit) must be RAM that the E820 map calls reserved, because
	// the system writes to the FACS (5.2.10).
	Limit uint64

	// APICIDs has the local APIC id of each processor. They are all enabled, and
	// the first is the one that boots. A processor's ACPI id (_UID) is its APIC id.
	APICIDs       []uint32
	LocalAPICAddr uint32 // address of the registers that every local APIC has
	IOAPIC        IOAPIC
	Overrides     []Override

	// SCI is the ISA interrupt of ACPI events, 0 to 15. Systems take it to be level
	// triggered and active low (5.2.9) unless an Override of it says otherwise.
	SCI         uint16
	PM1Event    uint16 // first of 4 ports: PM1a status and enable (4.8.3.1)
	PM1Control  uint16 // first of 2 ports: PM1a control (4.8.3.2)
	ResetPort   uint16 // writing ResetValue to this port resets the machine (4.8.3.6)
	ResetValue  uint8
	S5SleepType uint8 // SLP_TYP of soft off in PM1 control, 0 to 7

	Serial     []Serial // COM1, COM2 and so on; at most 9
	RTCPort    uint16   // first of 2 ports of the PC clock; 0 means that there is none
	PCI        *PCI     // nil if there is no PCI
	VirtioMMIO []MMIO   // at most 4096
}

// An IOAPIC is the interrupt controller at which global system interrupts (GSIs)
// arrive.
type IOAPIC struct {
	ID      uint8
	Addr    uint32 // of its registers
	GSIBase uint32 // the GSI of its first input
}

// An Override tells that an ISA interrupt does not arrive at the GSI of the same
// number, or not edge triggered and active high (5.2.12.5).
type Override struct {
	ISA   uint8 // 0 to 15
	GSI   uint32
	Flags uint16 // EdgeActiveHigh or another of its kind; 0 is as ISA has it, which is the same
}

// Flags of an Override: the MPS INTI flags (5.2.12.5), with the trigger mode in
// bits 3 and 2 and the polarity in bits 1 and 0.
const (
	EdgeActiveHigh  uint16 = 0b01_01
	EdgeActiveLow   uint16 = 0b01_11
	LevelActiveHigh uint16 = 0b11_01
	LevelActiveLow  uint16 = 0b11_11
)

// A Serial is a 16550-compatible serial port.
type Serial struct {
	Port uint16 // first port
	Size uint8  // number of ports
	IRQ  uint8  // ISA interrupt, edge triggered and active high, 0 to 15
}

// An MMIO is a virtio-mmio device: its register window below 4 GiB and its
// interrupt, which is edge triggered, active high and not shared.
type MMIO struct {
	Base, Size uint64
	GSI        uint32
}

// Tables are finished tables, ready to be copied to the guest.
type Tables struct {
	RSDP uint64 // address of the RSDP, for the boot protocol to pass on
	Data []byte // goes to Config.Base
}

// Build makes the tables. It fails when a field of c is out of range, with one
// error for each such field joined together, and when the tables do not fit
// between c.Base and c.Limit. The same Config always gives the same bytes.
func Build(c Config) (*Tables, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	// A table can be made when those that it points to have their addresses. The
	// RSDP comes first and is made last.
	img := image{base: c.Base}
	rsdpAddr := img.place(make([]byte, rsdpSize))
	facsAddr := img.place(facs())
	dsdtAddr := img.place(dsdt(&c))
	fadtAddr := img.place(fadt(&c, uint32(facsAddr), uint32(dsdtAddr)))
	madtAddr := img.place(madt(&c))
	listed := []uint64{fadtAddr, madtAddr}
	if c.PCI != nil {
		listed = append(listed, img.place(mcfg(c.PCI)))
	}
	xsdtAddr := img.place(xsdt(listed...))
	copy(img.data, rsdp(xsdtAddr))

	if size, room := uint64(len(img.data)), c.Limit-c.Base; size > room {
		return nil, fmt.Errorf("acpi: tables of %d bytes do not fit into the %d bytes from %#x to %#x", size, room, c.Base, c.Limit)
	}
	return &Tables{RSDP: rsdpAddr, Data: img.data}, nil
}

// tableAlignment is what the FACS demands of its address (5.2.10). The RSDP asks
// for 16 (5.2.5.1), the others for nothing, and get the same.
const tableAlignment = 64

// An image is the tables so far, and where in the guest they will be.
type image struct {
	base uint64 // a multiple of tableAlignment
	data []byte
}

// place appends a table at the next aligned address, which it returns.
func (img *image) place(table []byte) (addr uint64) {
	padding := -len(img.data) & (tableAlignment - 1)
	img.data = append(img.data, make([]byte, padding)...)
	addr = img.base + uint64(len(img.data))
	img.data = append(img.data, table...)
	return addr
}
