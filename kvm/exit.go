package kvm

import (
	"fmt"
	"strings"
)

// Exit says why Run returned. It belongs to the VCPU; the next Run overwrites it. Each
// method that gives details returns the zero value unless Reason is its own.
type Exit struct {
	Reason ExitReason
	run    *runData
	page   []byte // all that is shared with the kernel: run, then the data of port I/O
}

// ExitReason is kvm_run.exit_reason (api.rst 5).
type ExitReason uint32

// The reasons of all architectures. Those that x86 gives without being asked to by
// EnableCap are IO, MMIO, Debug, Hlt, IRQWindowOpen, Shutdown, FailEntry, Intr,
// InternalError and SystemEvent.
const (
	ExitUnknown        ExitReason = 0  // the processor left the guest for a reason that KVM does not know
	ExitException      ExitReason = 1  // no longer given
	ExitIO             ExitReason = 2  // IN or OUT; see Exit.IO
	ExitHypercall      ExitReason = 3  // VMCALL or VMMCALL, if asked for
	ExitDebug          ExitReason = 4  // a break or step of SetGuestDebug; see Exit.Debug
	ExitHlt            ExitReason = 5  // HLT, without an in-kernel irqchip
	ExitMMIO           ExitReason = 6  // access outside all memory slots; see Exit.MMIO
	ExitIRQWindowOpen  ExitReason = 7  // the guest can take an interrupt, if asked for
	ExitShutdown       ExitReason = 8  // triple fault: a PC resets
	ExitFailEntry      ExitReason = 9  // the processor refused the guest's state; see Exit.FailEntry
	ExitIntr           ExitReason = 10 // a signal, or SetImmediateExit
	ExitSetTPR         ExitReason = 11 // the task priority was lowered, without an in-kernel irqchip
	ExitTPRAccess      ExitReason = 12 // the task priority was accessed, if asked for
	ExitS390SIEIC      ExitReason = 13
	ExitS390Reset      ExitReason = 14
	ExitDCR            ExitReason = 15
	ExitNMI            ExitReason = 16 // the host's NMI; no longer given
	ExitInternalError  ExitReason = 17 // KVM cannot go on; see Exit.InternalError
	ExitOSI            ExitReason = 18
	ExitPAPRHcall      ExitReason = 19
	ExitS390UControl   ExitReason = 20
	ExitWatchdog       ExitReason = 21
	ExitS390TSCH       ExitReason = 22
	ExitEPR            ExitReason = 23
	ExitSystemEvent    ExitReason = 24 // shutdown, reset or crash told to KVM; see Exit.SystemEvent
	ExitS390STSI       ExitReason = 25
	ExitIOAPICEOI      ExitReason = 26 // end of a level-triggered interrupt, with CapSplitIRQChip
	ExitHyperV         ExitReason = 27
	ExitARMNISV        ExitReason = 28 // arm64: an access that KVM cannot decode
	ExitX86RDMSR       ExitReason = 29 // with CapX86UserSpaceMSR
	ExitX86WRMSR       ExitReason = 30 // with CapX86UserSpaceMSR
	ExitDirtyRingFull  ExitReason = 31 // with CapDirtyLogRing
	ExitAPResetHold    ExitReason = 32 // an SEV-ES guest's processor waits for SIPI
	ExitX86BusLock     ExitReason = 33 // with CapX86BusLockExit
	ExitXen            ExitReason = 34
	ExitRISCVSBI       ExitReason = 35
	ExitRISCVCSR       ExitReason = 36
	ExitNotify         ExitReason = 37 // the guest keeps the processor from taking interrupts, with CapX86NotifyVMExit
	ExitLoongArchIOCSR ExitReason = 38
	ExitMemoryFault    ExitReason = 39 // the host could not supply memory that a slot promises
	ExitTDX            ExitReason = 40
)

var exitNames = [...]string{
	ExitUnknown:        "KVM_EXIT_UNKNOWN",
	ExitException:      "KVM_EXIT_EXCEPTION",
	ExitIO:             "KVM_EXIT_IO",
	ExitHypercall:      "KVM_EXIT_HYPERCALL",
	ExitDebug:          "KVM_EXIT_DEBUG",
	ExitHlt:            "KVM_EXIT_HLT",
	ExitMMIO:           "KVM_EXIT_MMIO",
	ExitIRQWindowOpen:  "KVM_EXIT_IRQ_WINDOW_OPEN",
	ExitShutdown:       "KVM_EXIT_SHUTDOWN",
	ExitFailEntry:      "KVM_EXIT_FAIL_ENTRY",
	ExitIntr:           "KVM_EXIT_INTR",
	ExitSetTPR:         "KVM_EXIT_SET_TPR",
	ExitTPRAccess:      "KVM_EXIT_TPR_ACCESS",
	ExitS390SIEIC:      "KVM_EXIT_S390_SIEIC",
	ExitS390Reset:      "KVM_EXIT_S390_RESET",
	ExitDCR:            "KVM_EXIT_DCR",
	ExitNMI:            "KVM_EXIT_NMI",
	ExitInternalError:  "KVM_EXIT_INTERNAL_ERROR",
	ExitOSI:            "KVM_EXIT_OSI",
	ExitPAPRHcall:      "KVM_EXIT_PAPR_HCALL",
	ExitS390UControl:   "KVM_EXIT_S390_UCONTROL",
	ExitWatchdog:       "KVM_EXIT_WATCHDOG",
	ExitS390TSCH:       "KVM_EXIT_S390_TSCH",
	ExitEPR:            "KVM_EXIT_EPR",
	ExitSystemEvent:    "KVM_EXIT_SYSTEM_EVENT",
	ExitS390STSI:       "KVM_EXIT_S390_STSI",
	ExitIOAPICEOI:      "KVM_EXIT_IOAPIC_EOI",
	ExitHyperV:         "KVM_EXIT_HYPERV",
	ExitARMNISV:        "KVM_EXIT_ARM_NISV",
	ExitX86RDMSR:       "KVM_EXIT_X86_RDMSR",
	ExitX86WRMSR:       "KVM_EXIT_X86_WRMSR",
	ExitDirtyRingFull:  "KVM_EXIT_DIRTY_RING_FULL",
	ExitAPResetHold:    "KVM_EXIT_AP_RESET_HOLD",
	ExitX86BusLock:     "KVM_EXIT_X86_BUS_LOCK",
	ExitXen:            "KVM_EXIT_XEN",
	ExitRISCVSBI:       "KVM_EXIT_RISCV_SBI",
	ExitRISCVCSR:       "KVM_EXIT_RISCV_CSR",
	ExitNotify:         "KVM_EXIT_NOTIFY",
	ExitLoongArchIOCSR: "KVM_EXIT_LOONGARCH_IOCSR",
	ExitMemoryFault:    "KVM_EXIT_MEMORY_FAULT",
	ExitTDX:            "KVM_EXIT_TDX",
}

// String returns the name from the kernel's headers.
func (r ExitReason) String() string {
	if int(r) < len(exitNames) {
		return exitNames[r]
	}
	return fmt.Sprintf("ExitReason(%d)", uint32(r))
}

// IO is an access to port space.
type IO struct {
	Write bool // OUT
	Size  int  // bytes in each item: 1, 2 or 4
	Port  uint16
	Count int // items: 1, or more for INS and OUTS, all to the same port
	// Data is the Count*Size bytes of a write, or room for the answer to a read,
	// which KVM takes when Run is called again. It lies in memory that Close unmaps.
	Data []byte
}

// MMIO is an access to guest-physical memory that no slot backs, or a write to one
// that is read-only. An access that crosses 8 bytes comes as several.
type MMIO struct {
	Addr  uint64
	Write bool
	// Data is the 1 to 8 bytes of a write, or room for the answer to a read,
	// which KVM takes when Run is called again. It lies in memory that Close unmaps.
	Data []byte
}

// Debug is a break or step that SetGuestDebug asked for.
type Debug struct {
	Exception uint32 // vector: 1 is #DB, 3 is #BP
	PC        uint64 // linear address
	DR6       uint64 // why, if Exception is 1: bit 14 is a single step
	DR7       uint64
}

// FailEntry is a guest state that the processor would not enter.
type FailEntry struct {
	HardwareReason uint64 // VMX: exit reason with bit 31 set; SVM: exit code
	CPU            uint32 // host processor
}

// InternalErrorKind is the first word of an InternalError.
type InternalErrorKind uint32

const (
	InternalEmulation      InternalErrorKind = 1 // KVM_INTERNAL_ERROR_EMULATION: an instruction that its emulator lacks
	InternalSimulEx        InternalErrorKind = 2 // KVM_INTERNAL_ERROR_SIMUL_EX
	InternalDeliveryEvent  InternalErrorKind = 3 // KVM_INTERNAL_ERROR_DELIVERY_EV
	InternalUnexpectedExit InternalErrorKind = 4 // KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON
)

// String returns what happened in a few words.
func (k InternalErrorKind) String() string {
	switch k {
	case InternalEmulation:
		return "emulation failed"
	case InternalSimulEx:
		return "simultaneous exceptions"
	case InternalDeliveryEvent:
		return "exit while an event was delivered"
	case InternalUnexpectedExit:
		return "unexpected exit reason"
	}
	return fmt.Sprintf("suberror %d", uint32(k))
}

// InternalError is KVM's inability to go on.
type InternalError struct {
	Kind InternalErrorKind
	// Data is what KVM says of it; of an InternalEmulation only the flags in
	// Data[0] and what they announce mean the same everywhere.
	Data [16]uint64
	N    int // how many of Data hold
}

// emulationInsnBytes is KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES.
const emulationInsnBytes = 1 << 0

// Instruction returns the bytes of the instruction that could not be emulated, and
// perhaps of those behind it, or nil if KVM does not say.
func (e InternalError) Instruction() []byte {
	if e.Kind != InternalEmulation || e.N < 3 || e.Data[0]&emulationInsnBytes == 0 {
		return nil
	}
	// Two words: the count, then up to 15 bytes.
	var b []byte
	for _, w := range e.Data[1:3] {
		for i := range 8 {
			b = append(b, byte(w>>(8*i)))
		}
	}
	n := min(int(b[0]), len(b)-1)
	return b[1 : 1+n]
}

// SystemEventType says what a SystemEvent is.
type SystemEventType uint32

const (
	SystemShutdown SystemEventType = 1 // KVM_SYSTEM_EVENT_SHUTDOWN
	SystemReset    SystemEventType = 2 // KVM_SYSTEM_EVENT_RESET
	SystemCrash    SystemEventType = 3 // KVM_SYSTEM_EVENT_CRASH
	SystemWakeup   SystemEventType = 4 // KVM_SYSTEM_EVENT_WAKEUP
	SystemSuspend  SystemEventType = 5 // KVM_SYSTEM_EVENT_SUSPEND
	SystemSEVTerm  SystemEventType = 6 // KVM_SYSTEM_EVENT_SEV_TERM
)

// String returns the event in lower case.
func (t SystemEventType) String() string {
	switch t {
	case SystemShutdown:
		return "shutdown"
	case SystemReset:
		return "reset"
	case SystemCrash:
		return "crash"
	case SystemWakeup:
		return "wakeup"
	case SystemSuspend:
		return "suspend"
	case SystemSEVTerm:
		return "SEV termination"
	}
	return fmt.Sprintf("event %d", uint32(t))
}

// SystemEvent is something that the guest told KVM rather than a device.
type SystemEvent struct {
	Type SystemEventType
	Data [16]uint64
	N    int // how many of Data hold
}

// String describes the exit on one line, for messages.
func (e *Exit) String() string {
	detail := e.detail()
	if detail == "" {
		return e.Reason.String()
	}
	return e.Reason.String() + ": " + detail
}

func (e *Exit) detail() string {
	if e.run == nil {
		return ""
	}
	switch e.Reason {
	case ExitUnknown:
		return fmt.Sprintf("hardware exit reason %#x", e.HardwareReason())
	case ExitIO:
		io := e.IO()
		return fmt.Sprintf("%s port %#x, %d x %d bytes", direction(io.Write), io.Port, io.Count, io.Size)
	case ExitMMIO:
		mmio := e.MMIO()
		return fmt.Sprintf("%s %#x, %d bytes", direction(mmio.Write), mmio.Addr, len(mmio.Data))
	case ExitDebug:
		d := e.Debug()
		return fmt.Sprintf("exception %d at %#x, DR6 %#x", d.Exception, d.PC, d.DR6)
	case ExitFailEntry:
		f := e.FailEntry()
		return fmt.Sprintf("hardware entry failure %#x on CPU %d", f.HardwareReason, f.CPU)
	case ExitInternalError:
		return e.InternalError().String()
	case ExitSystemEvent:
		return e.SystemEvent().Type.String()
	}
	return ""
}

// String describes the error on one line.
func (e InternalError) String() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if insn := e.Instruction(); insn != nil {
		fmt.Fprintf(&b, ", instruction % x", insn)
		return b.String()
	}
	for _, d := range e.Data[:e.N] {
		fmt.Fprintf(&b, " %#x", d)
	}
	return b.String()
}

func direction(write bool) string {
	if write {
		return "write"
	}
	return "read"
}
