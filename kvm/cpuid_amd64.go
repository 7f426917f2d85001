package kvm

import (
	"structs"

	"golang.org/x/sys/unix"
)

// maxCPUIDEntries is KVM_MAX_CPUID_ENTRIES of the kernel's arch/x86/include/asm/kvm_host.h.
const maxCPUIDEntries = 256

// CPUIDFlags qualify a CPUIDEntry (api.rst 4.46).
type CPUIDFlags uint32

// CPUIDSignificantIndex says that the leaf has sub-leaves and Index counts. The
// header spells it KVM_CPUID_FLAG_SIGNIFCANT_INDEX.
const CPUIDSignificantIndex CPUIDFlags = 1 << 0

// CPUIDEntry is what CPUID answers for one leaf and sub-leaf (struct kvm_cpuid_entry2).
type CPUIDEntry struct {
	_        structs.HostLayout
	Function uint32 // EAX on entry
	Index    uint32 // ECX on entry
	Flags    CPUIDFlags
	EAX      uint32
	EBX      uint32
	ECX      uint32
	EDX      uint32
	_        [3]uint32
}

// cpuid2 is struct kvm_cpuid2 with room for as many entries as the kernel takes.
type cpuid2 struct {
	_       structs.HostLayout
	nent    uint32
	_       uint32
	entries [maxCPUIDEntries]CPUIDEntry
}

// SupportedCPUID returns what the host and KVM together can give a guest, from which
// the answer for SetCPUID2 is made (KVM_GET_SUPPORTED_CPUID, api.rst 4.46).
func (d *Device) SupportedCPUID() ([]CPUIDEntry, error) {
	return getCPUID(&d.handle, kvmGetSupportedCPUID)
}

// EmulatedCPUID returns the features that KVM emulates although the host's processor
// lacks them (KVM_GET_EMULATED_CPUID, api.rst 4.88; CapExtEmulCPUID).
func (d *Device) EmulatedCPUID() ([]CPUIDEntry, error) {
	return getCPUID(&d.handle, kvmGetEmulatedCPUID)
}

// CPUID returns what CPUID answers on this VCPU (KVM_GET_CPUID2, api.rst 4.46).
func (v *VCPU) CPUID() ([]CPUIDEntry, error) {
	entries, err := getCPUID(v, kvmGetCPUID2)
	// Linux 6.1 among others leaves the count as it was asked for when there is room
	// for all: what it did not fill is still zero.
	for len(entries) > 0 && entries[len(entries)-1] == (CPUIDEntry{}) {
		entries = entries[:len(entries)-1]
	}
	return entries, err
}

func getCPUID(o owner, req request) ([]CPUIDEntry, error) {
	list := &cpuid2{nent: maxCPUIDEntries}
	if _, err := ioctlPtr(o, req, list); err != nil {
		return nil, err
	}
	return list.entries[:min(list.nent, maxCPUIDEntries)], nil
}

// SetCPUID2 sets what CPUID answers (KVM_SET_CPUID2, api.rst 4.20 and 4.46). Do it
// before the first Run: newer kernels refuse a change after it. More than 256 entries are
// unix.E2BIG.
func (v *VCPU) SetCPUID2(entries []CPUIDEntry) error {
	list := &cpuid2{nent: uint32(len(entries))}
	if copy(list.entries[:], entries) < len(entries) {
		return &Error{Op: kvmSetCPUID2.String(), Err: unix.E2BIG}
	}
	return set(v, kvmSetCPUID2, list)
}
