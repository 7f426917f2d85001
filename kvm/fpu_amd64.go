package kvm

import (
	"structs"

	"golang.org/x/sys/unix"
)

// FPU is the x87 and SSE state (struct kvm_fpu). Xsave holds the same and more, MXCSR
// among it, which KVM neither reads nor sets here.
type FPU struct {
	_          structs.HostLayout
	FPR        [8][16]uint8 // ST or MM registers, 10 or 8 bytes used of each
	FCW        uint16
	FSW        uint16
	FTWX       uint8 // tag word as FXSAVE abridges it
	_          uint8
	LastOpcode uint16
	LastIP     uint64
	LastDP     uint64
	XMM        [16][16]uint8
	MXCSR      uint32
	_          uint32
}

// FPU reads the x87 and SSE state (KVM_GET_FPU, api.rst 4.22).
func (v *VCPU) FPU() (FPU, error) { return get[FPU](v, kvmGetFPU) }

// SetFPU sets the x87 and SSE state (KVM_SET_FPU, api.rst 4.23).
func (v *VCPU) SetFPU(f FPU) error { return set(v, kvmSetFPU, &f) }

// Xsave is an XSAVE area in the standard format (struct kvm_xsave; Intel SDM volume 1,
// 13.4). Its components lie where the host's CPUID leaf 0xd says. It has room for
// every component but those that a process must first ask the kernel for with
// arch_prctl, AMX tiles at present, and this package does not ask.
type Xsave struct {
	_      structs.HostLayout
	Region [1024]uint32
}

// Xsave reads the extended processor state into x (KVM_GET_XSAVE, api.rst 4.42).
func (v *VCPU) Xsave(x *Xsave) error {
	if err := v.checkXsave(kvmGetXsave); err != nil {
		return err
	}
	return set(v, kvmGetXsave, x)
}

// SetXsave sets the extended processor state. Components that SetCPUID2 did not
// announce are unix.EINVAL (KVM_SET_XSAVE, api.rst 4.43).
func (v *VCPU) SetXsave(x *Xsave) error {
	if err := v.checkXsave(kvmSetXsave); err != nil {
		return err
	}
	return set(v, kvmSetXsave, x)
}

// checkXsave guards against a process that did ask for AMX: KVM_SET_XSAVE would then
// read past the end of an Xsave (api.rst 4.43, 4.134).
func (v *VCPU) checkXsave(req request) error {
	size, err := v.vm.Check(CapXSAVE2)
	if err != nil {
		return err
	}
	if size > 4*len(Xsave{}.Region) {
		return &Error{Op: req.String(), Err: unix.E2BIG}
	}
	return nil
}

// Xcr is one extended control register (struct kvm_xcr).
type Xcr struct {
	_     structs.HostLayout
	Index uint32 // 0 is XCR0
	_     uint32
	Value uint64
}

// Xcrs are the extended control registers (struct kvm_xcrs).
type Xcrs struct {
	_     structs.HostLayout
	N     uint32 // how many of Xcrs hold
	Flags uint32 // 0
	Xcrs  [16]Xcr
	_     [16]uint64
}

// Xcrs reads the extended control registers (KVM_GET_XCRS, api.rst 4.44).
func (v *VCPU) Xcrs() (Xcrs, error) { return get[Xcrs](v, kvmGetXcrs) }

// SetXcrs sets the extended control registers. They say which components Xsave
// means, so set them before it (KVM_SET_XCRS, api.rst 4.45).
func (v *VCPU) SetXcrs(x Xcrs) error { return set(v, kvmSetXcrs, &x) }
