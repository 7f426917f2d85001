package acpi

// A PCI is the host bridge of PCI segment 0 with bus 0, the only one.
type PCI struct {
	// ECAM is where the configuration spaces of the bus are in memory: 1 MiB, aligned to that.
	ECAM uint64
	// Memory and Ports are where functions may have their registers: below 4 GiB, and in the space of I/O ports. Both
	// have at least 1 byte.
	Memory, Ports Window
}

// A Window is a range of addresses.
type Window struct{ Base, Size uint64 }

const (
	hidPCI   = "PNP0A03" // a PCI host bridge: 6.1.5
	ecamSize = 1 << 20

	configPorts     = 0xcf8 // of configuration mechanism #1
	configPortsSize = 8
)

// pciDevice declares the host bridge. It has no _PRT, the table of interrupt pins, as no function has a pin, and no
// _OSC: the bridge is declared as conventional PCI, so systems do not ask who owns the features of PCI Express.
func pciDevice(p *PCI) []byte {
	return amlDevice("PCI0",
		amlName("_HID", amlEISAID(hidPCI)),
		amlName("_UID", amlInteger(0)),
		amlName("_SEG", amlInteger(0)),
		amlName("_BBN", amlInteger(0)),
		amlName("_CRS", resources(
			wordWindow(windowBus, 0, 1),
			ioPorts(configPorts, configPortsSize),
			wordWindow(windowIO, uint16(p.Ports.Base), uint16(p.Ports.Size)),
			dwordMemoryWindow(uint32(p.Memory.Base), uint32(p.Memory.Size)),
		)),
	)
}

// mcfg returns the table that says where configuration spaces are in memory (PCI Firmware Specification 3.3, 4.1.2).
func mcfg(p *PCI) []byte {
	return table("MCFG", 1, struct {
		_           uint64
		Base        uint64
		Segment     uint16
		First, Last uint8 // buses
		_           uint32
	}{Base: p.ECAM})
}

func (f *faults) checkPCI(p *PCI) {
	if p.ECAM%ecamSize != 0 || p.ECAM == 0 || p.ECAM > fourGiB-ecamSize {
		f.addf("PCI.ECAM %#x: want a multiple of 1 MiB below 4 GiB", p.ECAM)
	}
	if m := p.Memory; m.Size == 0 || m.Size >= fourGiB || m.Base > fourGiB-m.Size {
		f.addf("PCI.Memory: want a window below 4 GiB, have %#x bytes at %#x", m.Size, m.Base)
	}
	if w := p.Ports; w.Base == 0 || w.Size == 0 || w.Size >= ioPortSpace || w.Base > ioPortSpace-w.Size {
		f.addf("PCI.Ports: want ports from 1 to %#x, have %#x from %#x on", ioPortSpace-1, w.Size, w.Base)
	}
}
