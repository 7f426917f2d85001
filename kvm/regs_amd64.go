package kvm

import "structs"

// Regs are the general-purpose registers (struct kvm_regs).
type Regs struct {
	_                  structs.HostLayout
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	RIP, RFLAGS        uint64 // bit 1 of RFLAGS is always set
}

// Segment is a segment register with the part that a processor keeps hidden
// (struct kvm_segment; Intel SDM volume 3, 3.4.3).
type Segment struct {
	_        structs.HostLayout
	Base     uint64
	Limit    uint32 // in bytes, whatever G says
	Selector uint16
	Type     uint8
	Present  uint8
	DPL      uint8
	DB       uint8 // default operand size is 32 bits
	S        uint8 // a code or data segment, not a system one
	L        uint8 // 64-bit code
	G        uint8 // the descriptor counts its limit in pages
	AVL      uint8
	Unusable uint8
	_        uint8
}

// DTable is a descriptor table register (struct kvm_dtable).
type DTable struct {
	_     structs.HostLayout
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// Sregs are the registers that only a kernel uses (struct kvm_sregs).
type Sregs struct {
	_                      structs.HostLayout
	CS, DS, ES, FS, GS, SS Segment
	TR, LDT                Segment
	GDT, IDT               DTable
	CR0, CR2, CR3, CR4     uint64
	CR8                    uint64
	EFER                   uint64
	APICBase               uint64
	// InterruptBitmap has at most one bit set: the vector of an external
	// interrupt that is accepted and not yet delivered.
	InterruptBitmap [4]uint64
}

// Regs reads the general-purpose registers (KVM_GET_REGS, api.rst 4.11).
func (v *VCPU) Regs() (Regs, error) { return get[Regs](v, kvmGetRegs) }

// SetRegs sets the general-purpose registers, and drops an exception that was about
// to be delivered (KVM_SET_REGS, api.rst 4.12).
func (v *VCPU) SetRegs(r Regs) error { return set(v, kvmSetRegs, &r) }

// Sregs reads the special registers (KVM_GET_SREGS, api.rst 4.13).
func (v *VCPU) Sregs() (Sregs, error) { return get[Sregs](v, kvmGetSregs) }

// SetSregs sets the special registers; an inconsistent set is unix.EINVAL
// (KVM_SET_SREGS, api.rst 4.14).
func (v *VCPU) SetSregs(s Sregs) error { return set(v, kvmSetSregs, &s) }

// Translation is the answer of Translate (struct kvm_translation).
type Translation struct {
	_        structs.HostLayout
	Linear   uint64 // the address asked for
	Physical uint64 // what it maps to, if Valid is not 0
	Valid    uint8
	Writable uint8
	User     uint8
	_        [5]uint8
}

// Translate walks the guest's page tables for a linear address as the VCPU now would
// (KVM_TRANSLATE, api.rst 4.15). Only Valid and Physical can be relied on: KVM does not
// compute the other two.
func (v *VCPU) Translate(linear uint64) (Translation, error) {
	t := Translation{Linear: linear}
	err := set(v, kvmTranslate, &t)
	return t, err
}
