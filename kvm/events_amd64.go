package kvm

import (
	"fmt"
	"structs"
)

// EventFlags say which fields of an Events hold (api.rst 4.31, 4.32).
type EventFlags uint32

const (
	EventNMIPending  EventFlags = 1 << 0 // in: NMI.Pending
	EventSIPIVector  EventFlags = 1 << 1 // in: SIPIVector
	EventShadow      EventFlags = 1 << 2 // Interrupt.Shadow
	EventSMM         EventFlags = 1 << 3 // SMI
	EventPayload     EventFlags = 1 << 4 // Exception.Pending, HasPayload, Payload; needs CapExceptionPayload enabled
	EventTripleFault EventFlags = 1 << 5 // TripleFault; needs CapX86TripleFaultEvent enabled
)

// Events are the exceptions and interrupts on their way into a VCPU
// (struct kvm_vcpu_events). Bytes are booleans where nothing else is said.
type Events struct {
	_          structs.HostLayout
	Exception  EventException
	Interrupt  EventInterrupt
	NMI        EventNMI
	SIPIVector uint32 // of the SIPI that made the VCPU runnable
	Flags      EventFlags
	SMI        EventSMI
	// TripleFault is pending; it becomes ExitShutdown at the next Run.
	TripleFault uint8
	_           [26]uint8
	HasPayload  uint8
	Payload     uint64 // of Exception: CR2 or DR6
}

// EventException is the exception part of Events.
type EventException struct {
	_            structs.HostLayout
	Injected     uint8 // delivery has begun
	Nr           uint8 // vector
	HasErrorCode uint8
	Pending      uint8 // not yet begun; with EventPayload only
	ErrorCode    uint32
}

// EventInterrupt is the part of Events about maskable interrupts.
type EventInterrupt struct {
	_        structs.HostLayout
	Injected uint8
	Nr       uint8 // vector
	Soft     uint8 // from an INT instruction
	Shadow   uint8 // bit 0 after MOV SS, bit 1 after STI: interrupts wait one instruction
}

// EventNMI is the part of Events about the non-maskable interrupt.
type EventNMI struct {
	_        structs.HostLayout
	Injected uint8
	Pending  uint8
	Masked   uint8 // until IRET
	_        uint8
}

// EventSMI is the part of Events about system management mode.
type EventSMI struct {
	_           structs.HostLayout
	SMM         uint8 // the VCPU is in it
	Pending     uint8
	InsideNMI   uint8
	LatchedInit uint8
}

// Events reads what is on its way (KVM_GET_VCPU_EVENTS, api.rst 4.31).
func (v *VCPU) Events() (Events, error) { return get[Events](v, kvmGetVCPUEvents) }

// SetEvents sets what is on its way (KVM_SET_VCPU_EVENTS, api.rst 4.32).
func (v *VCPU) SetEvents(e Events) error { return set(v, kvmSetVCPUEvents, &e) }

// MPState says whether a VCPU runs or what it waits for (api.rst 4.38).
type MPState uint32

const (
	MPRunnable      MPState = 0
	MPUninitialized MPState = 1 // an application processor before INIT
	MPInitReceived  MPState = 2 // waits for SIPI
	MPHalted        MPState = 3 // in HLT
	MPSIPIReceived  MPState = 4
)

// String returns the state's name in lower case.
func (s MPState) String() string {
	switch s {
	case MPRunnable:
		return "runnable"
	case MPUninitialized:
		return "uninitialized"
	case MPInitReceived:
		return "init received"
	case MPHalted:
		return "halted"
	case MPSIPIReceived:
		return "sipi received"
	}
	return fmt.Sprintf("MPState(%d)", uint32(s))
}

// MPState reads whether the VCPU runs (KVM_GET_MP_STATE, api.rst 4.38). It means
// little without CreateIRQChip.
func (v *VCPU) MPState() (MPState, error) { return get[MPState](v, kvmGetMPState) }

// SetMPState sets whether the VCPU runs (KVM_SET_MP_STATE, api.rst 4.39). It needs
// CreateIRQChip.
func (v *VCPU) SetMPState(s MPState) error { return set(v, kvmSetMPState, &s) }
