package acpi

import (
	"errors"
	"fmt"
)

// How many devices of a kind there may be: names in the DSDT number them with one
// decimal digit (COM1) or three hexadecimal ones (V000).
const (
	maxSerial     = 9
	maxVirtio     = 0x1000
	maxProcessors = 0x1000
)

const (
	isaInterrupts = 16
	ioPortSpace   = 0x10000
	fourGiB       = 1 << 32
	maxSleepType  = 7          // SLP_TYP has 3 bits (4.8.3.2.1)
	x2APICAll     = 0xffffffff // addresses all x2APICs (Intel SDM volume 3, ICR operation in x2APIC mode), so no single one
)

// How many I/O ports a device has.
const (
	pm1EventSize   = 4 // two registers of 16 bits (4.8.3.1)
	pm1ControlSize = 2 // one (4.8.3.2)
	resetSize      = 1 // one (4.8.3.6)
	rtcSize        = 2 // index and data
)

// faults collects what is wrong with a Config.
type faults []error

func (f *faults) addf(format string, args ...any) {
	*f = append(*f, fmt.Errorf("acpi: "+format, args...))
}

// check returns an error for each field that is out of range, joined together.
func (c *Config) check() error {
	var f faults
	if c.Base%tableAlignment != 0 || c.Base >= c.Limit || c.Limit > fourGiB {
		f.addf("Base %#x and Limit %#x: want a range below 4 GiB, aligned to %d bytes", c.Base, c.Limit, tableAlignment)
	}
	c.checkInterrupts(&f)
	f.checkPorts("PM1Event", c.PM1Event, pm1EventSize)
	f.checkPorts("PM1Control", c.PM1Control, pm1ControlSize)
	f.checkPorts("ResetPort", c.ResetPort, resetSize)
	if c.S5SleepType > maxSleepType {
		f.addf("S5SleepType %d: want 0 to %d", c.S5SleepType, maxSleepType)
	}
	c.checkDevices(&f)
	return errors.Join(f...)
}

func (c *Config) checkInterrupts(f *faults) {
	if n := len(c.APICIDs); n == 0 || n > maxProcessors {
		f.addf("APICIDs has %d processors: want 1 to %d", n, maxProcessors)
	}
	seen := make(map[uint32]bool)
	for i, id := range c.APICIDs {
		if id == x2APICAll || seen[id] {
			f.addf("APICIDs[%d] is %#x: want an id of its own, not the broadcast id", i, id)
		}
		seen[id] = true
	}
	if c.SCI >= isaInterrupts {
		f.addf("SCI %d: want an ISA interrupt, 0 to 15", c.SCI)
	}
	var overridden [isaInterrupts]bool
	for i, o := range c.Overrides {
		switch {
		case o.ISA >= isaInterrupts:
			f.addf("Overrides[%d].ISA is %d: want 0 to 15", i, o.ISA)
			continue
		case overridden[o.ISA]:
			f.addf("Overrides[%d] is for interrupt %d, as one before it", i, o.ISA)
		}
		overridden[o.ISA] = true
		switch o.Flags {
		case 0, EdgeActiveHigh, EdgeActiveLow, LevelActiveHigh, LevelActiveLow:
		default:
			f.addf("Overrides[%d].Flags %#x: want 0 or a trigger mode with a polarity", i, o.Flags)
		}
	}
}

func (c *Config) checkDevices(f *faults) {
	if n := len(c.Serial); n > maxSerial {
		f.addf("Serial has %d ports: want at most %d", n, maxSerial)
	}
	for i, s := range c.Serial {
		f.checkPorts(fmt.Sprintf("Serial[%d]", i), s.Port, int(s.Size))
		if s.IRQ >= isaInterrupts {
			f.addf("Serial[%d].IRQ %d: want 0 to 15", i, s.IRQ)
		}
	}
	if c.RTCPort != 0 {
		f.checkPorts("RTCPort", c.RTCPort, rtcSize)
	}
	if c.PCI != nil {
		f.checkPCI(c.PCI)
	}
	if n := len(c.VirtioMMIO); n > maxVirtio {
		f.addf("VirtioMMIO has %d devices: want at most %d", n, maxVirtio)
	}
	for i, m := range c.VirtioMMIO {
		if m.Size == 0 || m.Size > fourGiB || m.Base > fourGiB-m.Size {
			f.addf("VirtioMMIO[%d]: want a window below 4 GiB, have %#x bytes at %#x", i, m.Size, m.Base)
		}
	}
}

// checkPorts checks a range of I/O ports. Port 0 means that a field was left
// out: no PC has anything but a DMA controller there.
func (f *faults) checkPorts(field string, first uint16, n int) {
	if first == 0 || n == 0 || int(first)+n > ioPortSpace {
		f.addf("%s: want ports from 1 to %#x, have %d from %#x on", field, ioPortSpace-1, n, first)
	}
}
