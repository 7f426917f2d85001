package kvm

import (
	"errors"
	"fmt"
	"structs"

	"golang.org/x/sys/unix"
)

// maxMSRs is how many one call takes: fewer than MAX_IO_MSRS of the kernel's
// arch/x86/kvm/x86.c, which is 256.
const maxMSRs = 255

// MSREntry is one model-specific register (struct kvm_msr_entry).
type MSREntry struct {
	_     structs.HostLayout
	Index uint32
	_     uint32
	Data  uint64
}

// msrs is struct kvm_msrs with room for as many entries as the kernel takes.
type msrs struct {
	_       structs.HostLayout
	nmsrs   uint32
	_       uint32
	entries [maxMSRs]MSREntry
}

// MSRError says which register KVM_GET_MSRS or KVM_SET_MSRS stopped at: this KVM does
// not have it, or not that value for it. It matches errors.ErrUnsupported.
type MSRError struct {
	Op    string
	Index uint32
}

// Error names the ioctl and the register.
func (e *MSRError) Error() string {
	return fmt.Sprintf("kvm: %s: MSR %#x refused", e.Op, e.Index)
}

// Is reports whether target is errors.ErrUnsupported.
func (e *MSRError) Is(target error) bool { return target == errors.ErrUnsupported }

// MSRIndices returns the registers that a saved VCPU needs, as the host has them
// (KVM_GET_MSR_INDEX_LIST, api.rst 4.3).
func (d *Device) MSRIndices() ([]uint32, error) { return d.msrList(kvmGetMSRIndexList) }

// MSRFeatureIndices returns the registers that describe the host's features, such
// as those of VMX (KVM_GET_MSR_FEATURE_INDEX_LIST, api.rst 4.3; CapGetMSRFeatures).
func (d *Device) MSRFeatureIndices() ([]uint32, error) { return d.msrList(kvmGetMSRFeatureIndex) }

// msrList asks twice: with no room the kernel answers E2BIG and how much it needs.
// struct kvm_msr_list is a count and then the numbers, all of 32 bits.
func (d *Device) msrList(req request) ([]uint32, error) {
	var count uint32
	if err := set(&d.handle, req, &count); err != nil && !errors.Is(err, unix.E2BIG) {
		return nil, err
	}
	list := make([]uint32, 1+count)
	list[0] = count
	if err := set(&d.handle, req, &list[0]); err != nil {
		return nil, err
	}
	return list[1:][:min(list[0], count)], nil
}

// MSRs reads the registers of the given numbers (KVM_GET_MSRS, api.rst 4.18). At one
// that KVM lacks it stops: it returns those before it and an *MSRError.
func (v *VCPU) MSRs(indices []uint32) ([]MSREntry, error) {
	entries := make([]MSREntry, len(indices))
	for i, index := range indices {
		entries[i].Index = index
	}
	n, err := v.transferMSRs(kvmGetMSRs, entries)
	return entries[:n], err
}

// SetMSRs sets registers in the order given (KVM_SET_MSRS, api.rst 4.19). At one that
// KVM refuses it stops with an *MSRError; those before it are set.
func (v *VCPU) SetMSRs(entries []MSREntry) error {
	_, err := v.transferMSRs(kvmSetMSRs, entries)
	return err
}

// transferMSRs reads or sets entries in as many calls as it takes, and returns how
// many were done.
func (v *VCPU) transferMSRs(req request, entries []MSREntry) (int, error) {
	var buf msrs
	for done := 0; done < len(entries); {
		batch := copy(buf.entries[:], entries[done:])
		buf.nmsrs = uint32(batch)
		n, err := ioctlPtr(v, req, &buf)
		if err != nil {
			return done, err
		}
		n = min(n, batch)
		if req == kvmGetMSRs {
			copy(entries[done:], buf.entries[:n])
		}
		done += n
		if n < batch {
			return done, &MSRError{Op: req.String(), Index: entries[done].Index}
		}
	}
	return len(entries), nil
}

// TSCKHz returns the frequency of the guest's time stamp counter in kHz
// (KVM_GET_TSC_KHZ, api.rst 4.56; CapGetTSCKHz).
func (v *VCPU) TSCKHz() (int, error) { return ioctl(v, kvmGetTSCKHz, 0) }

// SetTSCKHz sets the frequency of the guest's time stamp counter in kHz; 0 is the
// host's (KVM_SET_TSC_KHZ, api.rst 4.55; CapTSCControl).
func (v *VCPU) SetTSCKHz(khz int) error {
	_, err := ioctl(v, kvmSetTSCKHz, uintptr(khz))
	return err
}

// KVMClockCtrl tells the guest's watchdogs that the host had paused it
// (KVM_KVMCLOCK_CTRL, api.rst 4.70). It is unix.EINVAL while the guest does not use
// the paravirtual clock.
func (v *VCPU) KVMClockCtrl() error {
	_, err := ioctl(v, kvmKVMClockCtrl, 0)
	return err
}
