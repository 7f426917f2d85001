package machine

import "govmm/kvm"

// RequiredCaps are the KVM capabilities without which New fails, in the order in
// which a machine comes to need them.
func RequiredCaps() []kvm.Cap {
	return []kvm.Cap{
		kvm.CapUserMemory,         // guest RAM is our mapping
		kvm.CapIRQChip,            // interrupt controllers in the kernel
		kvm.CapIRQFD,              // virtio interrupts
		kvm.CapIRQRouting,         // message-signalled interrupts
		kvm.CapIOEventFD,          // virtio doorbells
		kvm.CapIOEventFDAnyLength, // and those that KVM need not decode an instruction for
		kvm.CapSetTSSAddr,         // Intel hosts cannot enter real mode without
		kvm.CapSetIdentityMapAddr, // nor without this
		kvm.CapExtCPUID,           // KVM_GET_SUPPORTED_CPUID
		kvm.CapImmediateExit,      // kicking a vCPU without a race
	}
}

// OptionalCaps are the capabilities that make a machine better where they are there.
func OptionalCaps() []kvm.Cap {
	return []kvm.Cap{
		kvm.CapTSCDeadlineTimer, // a guest timer without calibration, and so without a PIT
		kvm.CapPIT2,             // the timer of guests without that, or that are not Linux
	}
}
