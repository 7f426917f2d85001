package kvm

import (
	"structs"
	"unsafe"
)

// The members of the union in struct kvm_run that this package reads.

type exitIO struct {
	_          structs.HostLayout
	direction  uint8
	size       uint8
	port       uint16
	count      uint32
	dataOffset uint64 // from the start of kvm_run
}

const exitIOOut = 1 // KVM_EXIT_IO_OUT

type exitMMIO struct {
	_        structs.HostLayout
	physAddr uint64
	data     [8]uint8
	len      uint32
	isWrite  uint8
}

type exitDebug struct {
	_         structs.HostLayout
	exception uint32
	_         uint32
	pc        uint64
	dr6       uint64
	dr7       uint64
}

type exitFailEntry struct {
	_                          structs.HostLayout
	hardwareEntryFailureReason uint64
	cpu                        uint32
}

type exitInternal struct {
	_        structs.HostLayout
	suberror uint32
	ndata    uint32
	data     [16]uint64
}

type exitSystemEvent struct {
	_     structs.HostLayout
	typ   uint32
	ndata uint32
	data  [16]uint64
}

// IO returns the details of an ExitIO.
func (e *Exit) IO() IO {
	if e.Reason != ExitIO || e.run == nil {
		return IO{}
	}
	u := (*exitIO)(unsafe.Pointer(&e.run.exit))
	io := IO{
		Write: u.direction == exitIOOut,
		Size:  int(u.size),
		Port:  u.port,
		Count: int(u.count),
	}
	n := uint64(io.Size) * uint64(io.Count)
	if end := u.dataOffset + n; end >= n && end <= uint64(len(e.page)) {
		io.Data = e.page[u.dataOffset:end:end]
	}
	return io
}

// MMIO returns the details of an ExitMMIO.
func (e *Exit) MMIO() MMIO {
	if e.Reason != ExitMMIO || e.run == nil {
		return MMIO{}
	}
	u := (*exitMMIO)(unsafe.Pointer(&e.run.exit))
	n := min(int(u.len), len(u.data))
	return MMIO{Addr: u.physAddr, Write: u.isWrite != 0, Data: u.data[:n:n]}
}

// Debug returns the details of an ExitDebug.
func (e *Exit) Debug() Debug {
	if e.Reason != ExitDebug || e.run == nil {
		return Debug{}
	}
	u := (*exitDebug)(unsafe.Pointer(&e.run.exit))
	return Debug{Exception: u.exception, PC: u.pc, DR6: u.dr6, DR7: u.dr7}
}

// FailEntry returns the details of an ExitFailEntry.
func (e *Exit) FailEntry() FailEntry {
	if e.Reason != ExitFailEntry || e.run == nil {
		return FailEntry{}
	}
	u := (*exitFailEntry)(unsafe.Pointer(&e.run.exit))
	return FailEntry{HardwareReason: u.hardwareEntryFailureReason, CPU: u.cpu}
}

// InternalError returns the details of an ExitInternalError.
func (e *Exit) InternalError() InternalError {
	if e.Reason != ExitInternalError || e.run == nil {
		return InternalError{}
	}
	u := (*exitInternal)(unsafe.Pointer(&e.run.exit))
	return InternalError{Kind: InternalErrorKind(u.suberror), Data: u.data, N: min(int(u.ndata), len(u.data))}
}

// SystemEvent returns the details of an ExitSystemEvent.
func (e *Exit) SystemEvent() SystemEvent {
	if e.Reason != ExitSystemEvent || e.run == nil {
		return SystemEvent{}
	}
	u := (*exitSystemEvent)(unsafe.Pointer(&e.run.exit))
	return SystemEvent{Type: SystemEventType(u.typ), Data: u.data, N: min(int(u.ndata), len(u.data))}
}

// HardwareReason returns what the processor gave as the reason of an ExitUnknown.
func (e *Exit) HardwareReason() uint64 {
	if e.Reason != ExitUnknown || e.run == nil {
		return 0
	}
	return e.run.exit[0]
}
