package kvm

import (
	"encoding/binary"
	"structs"
)

// LAPIC is the register page of a local APIC (struct kvm_lapic_state). Offsets are
// those of the Intel SDM, volume 3, table 11-1: 0x20 is the ID, 0xf0 the spurious
// vector register, 0x350 LVT LINT0.
type LAPIC struct {
	_    structs.HostLayout
	Page [1024]uint8
}

// Reg returns the 32-bit register at off, a multiple of 16 below 1024.
func (l *LAPIC) Reg(off int) uint32 { return binary.LittleEndian.Uint32(l.Page[off:]) }

// SetReg changes the 32-bit register at off, a multiple of 16 below 1024.
func (l *LAPIC) SetReg(off int, value uint32) {
	binary.LittleEndian.PutUint32(l.Page[off:], value)
}

// LAPIC reads the local APIC (KVM_GET_LAPIC, api.rst 4.57). It needs CreateIRQChip
// before CreateVCPU.
func (v *VCPU) LAPIC() (LAPIC, error) { return get[LAPIC](v, kvmGetLAPIC) }

// SetLAPIC sets the local APIC (KVM_SET_LAPIC, api.rst 4.58). Its mode and address
// are not in the page but in Sregs.APICBase; set that first.
func (v *VCPU) SetLAPIC(l LAPIC) error { return set(v, kvmSetLAPIC, &l) }

// NMI queues a non-maskable interrupt (KVM_NMI, api.rst 4.64).
func (v *VCPU) NMI() error {
	_, err := ioctl(v, kvmNMI, 0)
	return err
}
