package kvm

import "structs"

// DebugRegs are the guest's own debug registers (struct kvm_debugregs).
type DebugRegs struct {
	_     structs.HostLayout
	DB    [4]uint64 // DR0 to DR3
	DR6   uint64
	DR7   uint64
	Flags uint64 // 0
	_     [9]uint64
}

// DebugRegs reads the debug registers (KVM_GET_DEBUGREGS, api.rst 4.33).
func (v *VCPU) DebugRegs() (DebugRegs, error) { return get[DebugRegs](v, kvmGetDebugRegs) }

// SetDebugRegs sets the debug registers (KVM_SET_DEBUGREGS, api.rst 4.34).
func (v *VCPU) SetDebugRegs(d DebugRegs) error { return set(v, kvmSetDebugRegs, &d) }

// GuestDebugFlags choose how the host debugs the guest (api.rst 4.87).
type GuestDebugFlags uint32

const (
	GuestDebugEnable     GuestDebugFlags = 1 << 0  // without it all else is off
	GuestDebugSingleStep GuestDebugFlags = 1 << 1  // ExitDebug after each instruction
	GuestDebugUseSWBP    GuestDebugFlags = 1 << 16 // INT3 exits instead of trapping in the guest
	GuestDebugUseHWBP    GuestDebugFlags = 1 << 17 // DebugReg replaces the guest's debug registers
	GuestDebugInjectDB   GuestDebugFlags = 1 << 18 // deliver #DB to the guest at the next Run
	GuestDebugInjectBP   GuestDebugFlags = 1 << 19 // deliver #BP to the guest at the next Run
	GuestDebugBlockIRQ   GuestDebugFlags = 1 << 20 // hold interrupts back while stepping
)

// GuestDebug is how the host debugs the guest (struct kvm_guest_debug).
type GuestDebug struct {
	_        structs.HostLayout
	Control  GuestDebugFlags
	_        uint32
	DebugReg [8]uint64 // DR0 to DR7, for GuestDebugUseHWBP
}

// SetGuestDebug arms or disarms debugging by the host (KVM_SET_GUEST_DEBUG, api.rst
// 4.87). Events come as ExitDebug.
func (v *VCPU) SetGuestDebug(d GuestDebug) error { return set(v, kvmSetGuestDebug, &d) }
