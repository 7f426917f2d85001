package acpi

import "fmt"

const dsdtRevision = 2 // AML integers have 64 bits (5.2.11.1)

// Hardware ids (_HID) of the devices in the DSDT.
const (
	hidProcessor  = "ACPI0007" // 8.4
	hidSerial     = "PNP0501"  // 16550A-compatible port
	hidClock      = "PNP0B00"  // AT real-time clock
	hidVirtioMMIO = "LNRO0005" // what Linux's virtio_mmio driver binds to
)

// dsdt returns the Differentiated System Description Table (5.2.11.1). In ASL,
// the language that its AML is usually compiled from, it reads
//
//	Name (\_S5, Package () { S5SleepType, 0, 0, 0 })
//	Scope (\_SB) {
//		Device (C000) { ... }
//		...
//	}
func dsdt(c *Config) []byte {
	var devices []byte
	for i, id := range c.APICIDs {
		devices = append(devices, processorDevice(i, id)...)
	}
	for i, s := range c.Serial {
		devices = append(devices, serialDevice(i, s)...)
	}
	if c.RTCPort != 0 {
		devices = append(devices, clockDevice(c.RTCPort)...)
	}
	if c.PCI != nil {
		devices = append(devices, pciDevice(c.PCI)...)
	}
	for i, m := range c.VirtioMMIO {
		devices = append(devices, virtioDevice(i, m)...)
	}

	// The values for PM1a control, for PM1b control, and two reserved ones (7.4.2).
	softOff := amlPackage(amlInteger(uint64(c.S5SleepType)), amlInteger(0), amlInteger(0), amlInteger(0))
	return table("DSDT", dsdtRevision,
		amlName(`\_S5`, softOff),
		amlScope(`\_SB`, devices),
	)
}

// processorDevice declares a processor, whose entry in the MADT has the same
// _UID (8.4).
func processorDevice(i int, id uint32) []byte {
	return amlDevice(fmt.Sprintf("C%03X", i),
		amlName("_HID", amlString(hidProcessor)),
		amlName("_UID", amlInteger(uint64(id))),
	)
}

func serialDevice(i int, s Serial) []byte {
	return amlDevice(fmt.Sprintf("COM%d", i+1),
		amlName("_HID", amlEISAID(hidSerial)),
		amlName("_UID", amlInteger(uint64(i+1))),
		amlName("_CRS", resources(
			ioPorts(s.Port, s.Size),
			isaInterrupt(s.IRQ),
		)),
	)
}

func clockDevice(port uint16) []byte {
	return amlDevice("RTC",
		amlName("_HID", amlEISAID(hidClock)),
		amlName("_CRS", resources(ioPorts(port, rtcSize))),
	)
}

func virtioDevice(i int, m MMIO) []byte {
	return amlDevice(fmt.Sprintf("V%03X", i),
		amlName("_HID", amlString(hidVirtioMMIO)),
		amlName("_UID", amlInteger(uint64(i))),
		amlName("_CRS", resources(
			memory32(uint32(m.Base), uint32(m.Size)),
			gsiEdge(m.GSI),
		)),
	)
}
