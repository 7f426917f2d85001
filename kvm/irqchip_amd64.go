package kvm

import "structs"

// IRQChipID names one of a PC's interrupt controllers.
type IRQChipID uint32

const (
	PICMaster  IRQChipID = 0 // KVM_IRQCHIP_PIC_MASTER: i8259 at port 0x20
	PICSlave   IRQChipID = 1 // KVM_IRQCHIP_PIC_SLAVE: i8259 at port 0xa0
	IOAPICChip IRQChipID = 2 // KVM_IRQCHIP_IOAPIC: at 0xfec00000
)

// CreateIRQChip puts two i8259 PICs and an IOAPIC into the kernel, and gives each
// VCPU that is created after it a local APIC (KVM_CREATE_IRQCHIP, api.rst 4.24). HLT
// then no longer exits: the VCPU sleeps in KVM_RUN until an interrupt.
func (m *VM) CreateIRQChip() error {
	_, err := ioctl(&m.handle, kvmCreateIRQChip, 0)
	return err
}

// IRQChip is the state of one interrupt controller (struct kvm_irqchip). What is in
// State depends on ID; PIC and IOAPIC give it its fields.
type IRQChip struct {
	_     structs.HostLayout
	ID    IRQChipID
	_     uint32
	State [64]uint64
}

// PICState is the state of an i8259 (struct kvm_pic_state).
type PICState struct {
	_                      structs.HostLayout
	LastIRR                uint8 // lines as last seen, to detect edges
	IRR                    uint8 // interrupt request register
	IMR                    uint8 // interrupt mask register
	ISR                    uint8 // in-service register
	PriorityAdd            uint8 // the line of highest priority
	IRQBase                uint8 // vector of line 0
	ReadRegSelect          uint8
	Poll                   uint8
	SpecialMask            uint8
	InitState              uint8
	AutoEOI                uint8
	RotateOnAutoEOI        uint8
	SpecialFullyNestedMode uint8
	Init4                  uint8 // the initialization has a fourth byte
	ELCR                   uint8 // lines that are level-triggered
	ELCRMask               uint8 // lines that may be
}

// IOAPICState is the state of the IOAPIC (struct kvm_ioapic_state).
type IOAPICState struct {
	_           structs.HostLayout
	BaseAddress uint64
	IORegSel    uint32
	ID          uint32
	IRR         uint32
	_           uint32
	// Redirection is the redirection table as the guest wrote it (82093AA data
	// sheet, 3.2.4).
	Redirection [24]uint64
}

// IRQChip reads a controller's state (KVM_GET_IRQCHIP, api.rst 4.26).
func (m *VM) IRQChip(id IRQChipID) (IRQChip, error) {
	chip := IRQChip{ID: id}
	err := set(&m.handle, kvmGetIRQChip, &chip)
	return chip, err
}

// SetIRQChip sets the state of the controller c.ID (KVM_SET_IRQCHIP, api.rst 4.27).
func (m *VM) SetIRQChip(c IRQChip) error { return set(&m.handle, kvmSetIRQChip, &c) }
