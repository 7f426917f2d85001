package acpi

const (
	madtRevision = 6      // 5.2.12
	pcatCompat   = 1 << 0 // two 8259 interrupt controllers as well (5.2.12, PCAT_COMPAT)
)

// Types of the entries of a MADT (5.2.12).
const (
	typeLocalAPIC      = 0
	typeIOAPIC         = 1
	typeSourceOverride = 2
	typeLocalX2APIC    = 9
)

// apicEnabled marks a processor that is ready to use (5.2.12.2).
const apicEnabled = 1 << 0

// Entries of the MADT. Type and Length come first in each.
type (
	// A localAPIC is a processor with an APIC id below 255 (5.2.12.2).
	localAPIC struct {
		Type, Length uint8
		ProcessorUID uint8 // the _UID of its device in the DSDT
		APICID       uint8
		Flags        uint32
	}
	// A localX2APIC is a processor with any APIC id (5.2.12.12).
	localX2APIC struct {
		Type, Length uint8
		_            uint16
		APICID       uint32
		Flags        uint32
		ProcessorUID uint32
	}
	// An ioAPIC is an I/O APIC (5.2.12.3).
	ioAPIC struct {
		Type, Length uint8
		ID           uint8
		_            uint8
		Address      uint32
		GSIBase      uint32
	}
	// A sourceOverride says how an ISA interrupt arrives (5.2.12.5).
	sourceOverride struct {
		Type, Length uint8
		Bus          uint8 // 0: ISA
		Source       uint8
		GSI          uint32
		Flags        uint16
	}
)

// madt returns the Multiple APIC Description Table (5.2.12). The 8259 pair is
// always there, because the interrupt controllers of KVM come together.
func madt(c *Config) []byte {
	var entries []any
	for _, id := range c.APICIDs {
		entries = append(entries, processor(id))
	}
	entries = append(entries, ioAPIC{
		Type: typeIOAPIC, Length: 12,
		ID: c.IOAPIC.ID, Address: c.IOAPIC.Addr, GSIBase: c.IOAPIC.GSIBase,
	})
	for _, o := range c.Overrides {
		entries = append(entries, sourceOverride{
			Type: typeSourceOverride, Length: 10,
			Source: o.ISA, GSI: o.GSI, Flags: o.Flags,
		})
	}
	flags := uint32(pcatCompat)
	return table("APIC", madtRevision, append([]any{c.LocalAPICAddr, flags}, entries...)...)
}

// processor returns the entry of one processor. The short form must be used for
// each APIC id that fits it, and 255 does not, because it addresses all local
// APICs: Linux ignores a long entry with a smaller id when there are short
// entries (5.2.12.12). Taking the APIC id as the processor's _UID makes that fit
// as well.
func processor(id uint32) any {
	if id < 255 {
		return localAPIC{
			Type: typeLocalAPIC, Length: 8,
			ProcessorUID: uint8(id), APICID: uint8(id), Flags: apicEnabled,
		}
	}
	return localX2APIC{
		Type: typeLocalX2APIC, Length: 16,
		ProcessorUID: id, APICID: id, Flags: apicEnabled,
	}
}
