package kvm

import "structs"

// IOEventFD names guest writes that the kernel is to answer by signalling an eventfd
// instead of returning from KVM_RUN: a doorbell.
type IOEventFD struct {
	FD    int    // an eventfd
	Addr  uint64 // guest-physical address, or port number if PIO
	Len   uint32 // width of the write in bytes: 1, 2, 4 or 8; 0 is any, with CapIOEventFDAnyLength
	Match bool   // only writes of Value count; others exit as usual
	Value uint64
	PIO   bool // Addr is in port space
}

// ioeventfd is struct kvm_ioeventfd.
type ioeventfd struct {
	_         structs.HostLayout
	datamatch uint64
	addr      uint64
	len       uint32
	fd        int32
	flags     uint32
	_         [36]uint8
}

// The flags of struct kvm_ioeventfd.
const (
	ioeventfdDatamatch = 1 << 0 // KVM_IOEVENTFD_FLAG_DATAMATCH
	ioeventfdPIO       = 1 << 1 // KVM_IOEVENTFD_FLAG_PIO
	ioeventfdDeassign  = 1 << 2 // KVM_IOEVENTFD_FLAG_DEASSIGN
)

// AssignIOEventFD attaches e (KVM_IOEVENTFD, api.rst 4.59). It fails with
// unix.EEXIST where another one would see the same write.
func (m *VM) AssignIOEventFD(e IOEventFD) error { return m.ioeventfd(e, 0) }

// DeassignIOEventFD detaches e, all of whose fields must be as they were assigned;
// otherwise unix.ENOENT.
func (m *VM) DeassignIOEventFD(e IOEventFD) error { return m.ioeventfd(e, ioeventfdDeassign) }

func (m *VM) ioeventfd(e IOEventFD, flags uint32) error {
	arg := ioeventfd{addr: e.Addr, len: e.Len, fd: int32(e.FD), flags: flags}
	if e.Match {
		arg.flags |= ioeventfdDatamatch
		arg.datamatch = e.Value
	}
	if e.PIO {
		arg.flags |= ioeventfdPIO
	}
	return set(&m.handle, kvmIOEventFD, &arg)
}
