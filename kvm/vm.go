package kvm

import (
	"structs"

	"golang.org/x/sys/unix"
)

// VM is one virtual machine: guest-physical memory, interrupt wiring, VCPUs. Its
// methods may be called from any goroutine of the process that created it.
//
// The kernel frees a VM when its descriptor and those of all its VCPUs are closed,
// in whichever order.
type VM struct {
	handle  handle
	runSize int // bytes to map for each VCPU
	memory  memorySlots
}

// Close gives the descriptor back. Later calls fail with fs.ErrClosed; a second
// Close does nothing. Close the VCPUs too.
func (m *VM) Close() error { return m.handle.close() }

// Check is Device.Check for this VM, whose answer is the exact one where they
// differ (KVM_CHECK_EXTENSION, api.rst 4.4).
func (m *VM) Check(c Cap) (int, error) {
	return ioctl(&m.handle, kvmCheckExtension, uintptr(c))
}

// enableCap is struct kvm_enable_cap.
type enableCap struct {
	_     structs.HostLayout
	cap   Cap
	flags uint32
	args  [4]uint64
	_     [64]uint8
}

// EnableCap switches on a capability that is off until asked for, with up to four
// arguments whose meaning is the capability's (KVM_ENABLE_CAP, api.rst 4.37 and 7).
func (m *VM) EnableCap(c Cap, args ...uint64) error {
	arg := enableCap{cap: c}
	if copy(arg.args[:], args) < len(args) {
		return &Error{Op: kvmEnableCap.String(), Err: unix.E2BIG}
	}
	return set(&m.handle, kvmEnableCap, &arg)
}
