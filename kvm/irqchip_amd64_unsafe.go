//go:build amd64

package kvm

import "unsafe"

// PIC returns State as an i8259's, to read and to change, or nil if c is no PIC.
func (c *IRQChip) PIC() *PICState {
	if c.ID != PICMaster && c.ID != PICSlave {
		return nil
	}
	return (*PICState)(unsafe.Pointer(&c.State))
}

// IOAPIC returns State as an IOAPIC's, to read and to change, or nil if c is none.
func (c *IRQChip) IOAPIC() *IOAPICState {
	if c.ID != IOAPICChip {
		return nil
	}
	return (*IOAPICState)(unsafe.Pointer(&c.State))
}
