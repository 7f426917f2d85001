package kvm

import (
	"fmt"
	"iter"
)

// Cap is an extension of the KVM API that a host may or may not have (api.rst 4.4).
// Purpose says in a line what each is for.
type Cap uint32

// The capabilities that are of all architectures or of x86, with the names that the
// kernel's headers give them behind KVM_CAP_.
const (
	CapIRQChip                Cap = 0
	CapHLT                    Cap = 1
	CapMMUShadowCacheControl  Cap = 2
	CapUserMemory             Cap = 3
	CapSetTSSAddr             Cap = 4
	CapVAPIC                  Cap = 6
	CapExtCPUID               Cap = 7
	CapClocksource            Cap = 8
	CapNRVCPUs                Cap = 9
	CapNRMemSlots             Cap = 10
	CapPIT                    Cap = 11
	CapNopIODelay             Cap = 12
	CapMPState                Cap = 14
	CapCoalescedMMIO          Cap = 15
	CapSyncMMU                Cap = 16
	CapDestroyMemoryRegion    Cap = 21
	CapUserNMI                Cap = 22
	CapSetGuestDebug          Cap = 23
	CapReinjectControl        Cap = 24
	CapIRQRouting             Cap = 25
	CapIRQInjectStatus        Cap = 26
	CapJoinMemoryRegions      Cap = 30
	CapMCE                    Cap = 31
	CapIRQFD                  Cap = 32
	CapPIT2                   Cap = 33
	CapSetBootCPUID           Cap = 34
	CapPITState2              Cap = 35
	CapIOEventFD              Cap = 36
	CapSetIdentityMapAddr     Cap = 37
	CapXenHVM                 Cap = 38
	CapAdjustClock            Cap = 39
	CapInternalErrorData      Cap = 40
	CapVCPUEvents             Cap = 41
	CapHyperV                 Cap = 44
	CapHyperVVAPIC            Cap = 45
	CapHyperVSpin             Cap = 46
	CapPCISegment             Cap = 47
	CapIntrShadow             Cap = 49
	CapDebugRegs              Cap = 50
	CapX86RobustSinglestep    Cap = 51
	CapEnableCap              Cap = 54
	CapXsave                  Cap = 55
	CapXcrs                   Cap = 56
	CapAsyncPF                Cap = 59
	CapTSCControl             Cap = 60
	CapGetTSCKHz              Cap = 61
	CapMaxVCPUs               Cap = 66
	CapOneReg                 Cap = 70
	CapTSCDeadlineTimer       Cap = 72
	CapSyncRegs               Cap = 74
	CapKVMClockCtrl           Cap = 76
	CapSignalMSI              Cap = 77
	CapReadonlyMem            Cap = 81
	CapIRQFDResample          Cap = 82
	CapDeviceCtrl             Cap = 89
	CapExtEmulCPUID           Cap = 95
	CapHyperVTime             Cap = 96
	CapIOAPICPolarityIgnored  Cap = 97
	CapEnableCapVM            Cap = 98
	CapIOEventFDNoLength      Cap = 100
	CapVMAttributes           Cap = 101
	CapCheckExtensionVM       Cap = 105
	CapDisableQuirks          Cap = 116
	CapX86SMM                 Cap = 117
	CapMultiAddressSpace      Cap = 118
	CapGuestDebugHWBPs        Cap = 119
	CapGuestDebugHWWPs        Cap = 120
	CapSplitIRQChip           Cap = 121
	CapIOEventFDAnyLength     Cap = 122
	CapHyperVSynIC            Cap = 123
	CapVCPUAttributes         Cap = 127
	CapMaxVCPUID              Cap = 128
	CapX2APICAPI              Cap = 129
	CapMSIDevID               Cap = 131
	CapImmediateExit          Cap = 136
	CapX86DisableExits        Cap = 143
	CapHyperVSynIC2           Cap = 148
	CapHyperVVPIndex          Cap = 149
	CapGetMSRFeatures         Cap = 153
	CapHyperVEventFD          Cap = 154
	CapHyperVTLBFlush         Cap = 155
	CapNestedState            Cap = 157
	CapMSRPlatformInfo        Cap = 159
	CapHyperVSendIPI          Cap = 161
	CapCoalescedPIO           Cap = 162
	CapHyperVEnlightenedVMCS  Cap = 163
	CapExceptionPayload       Cap = 164
	CapManualDirtyLogProtect  Cap = 166
	CapHyperVCPUID            Cap = 167
	CapManualDirtyLogProtect2 Cap = 168
	CapPMUEventFilter         Cap = 173
	CapHyperVDirectTLBFlush   Cap = 175
	CapHaltPoll               Cap = 182
	CapAsyncPFInt             Cap = 183
	CapLastCPU                Cap = 184
	CapSmallerMaxPhyAddr      Cap = 185
	CapStealTime              Cap = 187
	CapX86UserSpaceMSR        Cap = 188
	CapX86MSRFilter           Cap = 189
	CapEnforcePVFeatureCPUID  Cap = 190
	CapSysHyperVCPUID         Cap = 191
	CapDirtyLogRing           Cap = 192
	CapX86BusLockExit         Cap = 193
	CapSetGuestDebug2         Cap = 195
	CapSGXAttribute           Cap = 196
	CapVMCopyEncContextFrom   Cap = 197
	CapPTPKVM                 Cap = 198
	CapHyperVEnforceCPUID     Cap = 199
	CapSregs2                 Cap = 200
	CapExitHypercall          Cap = 201
	CapBinaryStatsFD          Cap = 203
	CapExitOnEmulationFailure Cap = 204
	CapVMMoveEncContextFrom   Cap = 206
	CapVMGPABits              Cap = 207
	CapXSAVE2                 Cap = 208
	CapSysAttributes          Cap = 209
	CapPMUCapability          Cap = 212
	CapDisableQuirks2         Cap = 213
	CapVMTSCControl           Cap = 214
	CapSystemEventData        Cap = 215
	CapX86TripleFaultEvent    Cap = 218
	CapX86NotifyVMExit        Cap = 219
	CapVMDisableNXHugePages   Cap = 220
	CapDirtyLogRingACQREL     Cap = 223
)

// capTable holds each capability's name behind KVM_CAP_ and its purpose. "Value:"
// introduces what Check returns where that is more than 1 for yes.
var capTable = [...]struct{ name, purpose string }{
	CapIRQChip:                {"IRQCHIP", "interrupt controllers in the kernel: VM.CreateIRQChip"},
	CapHLT:                    {"HLT", "ExitHlt when the guest halts"},
	CapMMUShadowCacheControl:  {"MMU_SHADOW_CACHE_CONTROL", "limit the memory for shadow page tables"},
	CapUserMemory:             {"USER_MEMORY", "guest memory is the process's: VM.SetMemory"},
	CapSetTSSAddr:             {"SET_TSS_ADDR", "place the TSS that Intel hosts need: VM.SetTSSAddr"},
	CapVAPIC:                  {"VAPIC", "paravirtual task priority for 32-bit Windows"},
	CapExtCPUID:               {"EXT_CPUID", "CPUID with sub-leaves: Device.SupportedCPUID, VCPU.SetCPUID2"},
	CapClocksource:            {"CLOCKSOURCE", "paravirtual clock for the guest"},
	CapNRVCPUs:                {"NR_VCPUS", "recommended limit of VCPUs per VM. Value: the limit"},
	CapNRMemSlots:             {"NR_MEMSLOTS", "memory slots. Value: how many"},
	CapPIT:                    {"PIT", "i8254 in the kernel, older form"},
	CapNopIODelay:             {"NOP_IO_DELAY", "guest kernels may leave out delays after port I/O"},
	CapMPState:                {"MP_STATE", "VCPU.MPState, VCPU.SetMPState"},
	CapCoalescedMMIO:          {"COALESCED_MMIO", "batch of MMIO writes without exits. Value: page of the ring"},
	CapSyncMMU:                {"SYNC_MMU", "changes of the host's mapping show in the guest at once"},
	CapDestroyMemoryRegion:    {"DESTROY_MEMORY_REGION_WORKS", "slots can be deleted"},
	CapUserNMI:                {"USER_NMI", "VCPU.NMI"},
	CapSetGuestDebug:          {"SET_GUEST_DEBUG", "VCPU.SetGuestDebug"},
	CapReinjectControl:        {"REINJECT_CONTROL", "whether lost timer ticks are made up for"},
	CapIRQRouting:             {"IRQ_ROUTING", "VM.SetGSIRouting. Value: how many GSIs"},
	CapIRQInjectStatus:        {"IRQ_INJECT_STATUS", "learn whether an interrupt was taken or merged"},
	CapJoinMemoryRegions:      {"JOIN_MEMORY_REGIONS_WORKS", "a slot may take the place of several deleted ones"},
	CapMCE:                    {"MCE", "machine checks for the guest. Value: how many banks"},
	CapIRQFD:                  {"IRQFD", "eventfds that raise interrupts: VM.AssignIRQFD"},
	CapPIT2:                   {"PIT2", "VM.CreatePIT2"},
	CapSetBootCPUID:           {"SET_BOOT_CPU_ID", "VM.SetBootCPU"},
	CapPITState2:              {"PIT_STATE2", "VM.PIT2, VM.SetPIT2"},
	CapIOEventFD:              {"IOEVENTFD", "doorbells without exits: VM.AssignIOEventFD"},
	CapSetIdentityMapAddr:     {"SET_IDENTITY_MAP_ADDR", "VM.SetIdentityMapAddr"},
	CapXenHVM:                 {"XEN_HVM", "Xen's hypercalls. Value: bits for what of them"},
	CapAdjustClock:            {"ADJUST_CLOCK", "VM.Clock, VM.SetClock. Value: the ClockFlags known"},
	CapInternalErrorData:      {"INTERNAL_ERROR_DATA", "InternalError.Data is filled"},
	CapVCPUEvents:             {"VCPU_EVENTS", "VCPU.Events, VCPU.SetEvents"},
	CapHyperV:                 {"HYPERV", "Hyper-V's MSRs and hypercalls"},
	CapHyperVVAPIC:            {"HYPERV_VAPIC", "Hyper-V's APIC access MSRs"},
	CapHyperVSpin:             {"HYPERV_SPIN", "Hyper-V's long spin wait hypercall"},
	CapPCISegment:             {"PCI_SEGMENT", "device assignment beyond PCI segment 0"},
	CapIntrShadow:             {"INTR_SHADOW", "EventInterrupt.Shadow can be set"},
	CapDebugRegs:              {"DEBUGREGS", "VCPU.DebugRegs, VCPU.SetDebugRegs"},
	CapX86RobustSinglestep:    {"X86_ROBUST_SINGLESTEP", "single steps survive interrupts and the guest's own tracing"},
	CapEnableCap:              {"ENABLE_CAP", "capabilities can be enabled on a VCPU"},
	CapXsave:                  {"XSAVE", "VCPU.Xsave, VCPU.SetXsave"},
	CapXcrs:                   {"XCRS", "VCPU.Xcrs, VCPU.SetXcrs"},
	CapAsyncPF:                {"ASYNC_PF", "tell the guest of pages that the host has to fetch"},
	CapTSCControl:             {"TSC_CONTROL", "VCPU.SetTSCKHz to another frequency than the host's"},
	CapGetTSCKHz:              {"GET_TSC_KHZ", "VCPU.TSCKHz"},
	CapMaxVCPUs:               {"MAX_VCPUS", "hard limit of VCPUs per VM. Value: the limit"},
	CapOneReg:                 {"ONE_REG", "registers one by one"},
	CapTSCDeadlineTimer:       {"TSC_DEADLINE_TIMER", "CPUID may offer the APIC timer's TSC deadline mode"},
	CapSyncRegs:               {"SYNC_REGS", "registers through kvm_run. Value: bits for which"},
	CapKVMClockCtrl:           {"KVMCLOCK_CTRL", "VCPU.KVMClockCtrl"},
	CapSignalMSI:              {"SIGNAL_MSI", "VM.SignalMSI"},
	CapReadonlyMem:            {"READONLY_MEM", "MemReadOnly slots"},
	CapIRQFDResample:          {"IRQFD_RESAMPLE", "irqfds for level-triggered interrupts"},
	CapDeviceCtrl:             {"DEVICE_CTRL", "in-kernel devices with descriptors of their own"},
	CapExtEmulCPUID:           {"EXT_EMUL_CPUID", "Device.EmulatedCPUID"},
	CapHyperVTime:             {"HYPERV_TIME", "Hyper-V's reference counter and TSC page"},
	CapIOAPICPolarityIgnored:  {"IOAPIC_POLARITY_IGNORED", "the IOAPIC takes every line as active high"},
	CapEnableCapVM:            {"ENABLE_CAP_VM", "VM.EnableCap"},
	CapIOEventFDNoLength:      {"IOEVENTFD_NO_LENGTH", "IOEventFD.Len 0 for MMIO"},
	CapVMAttributes:           {"VM_ATTRIBUTES", "attributes of a VM"},
	CapCheckExtensionVM:       {"CHECK_EXTENSION_VM", "VM.Check"},
	CapDisableQuirks:          {"DISABLE_QUIRKS", "switch off historical misbehaviour, older form"},
	CapX86SMM:                 {"X86_SMM", "system management mode"},
	CapMultiAddressSpace:      {"MULTI_ADDRESS_SPACE", "memory slots per address space. Value: how many spaces"},
	CapGuestDebugHWBPs:        {"GUEST_DEBUG_HW_BPS", "hardware breakpoints. Value: how many (arm64)"},
	CapGuestDebugHWWPs:        {"GUEST_DEBUG_HW_WPS", "hardware watchpoints. Value: how many (arm64)"},
	CapSplitIRQChip:           {"SPLIT_IRQCHIP", "local APICs in the kernel, PIC and IOAPIC outside"},
	CapIOEventFDAnyLength:     {"IOEVENTFD_ANY_LENGTH", "IOEventFD.Len 0"},
	CapHyperVSynIC:            {"HYPERV_SYNIC", "Hyper-V's interrupt controller, older form"},
	CapVCPUAttributes:         {"VCPU_ATTRIBUTES", "attributes of a VCPU"},
	CapMaxVCPUID:              {"MAX_VCPU_ID", "VCPU ids. Value: one more than the largest"},
	CapX2APICAPI:              {"X2APIC_API", "32-bit APIC ids in LAPIC and MSI. Value: bits for which behaviours"},
	CapMSIDevID:               {"MSI_DEVID", "MSI messages name their device (arm64)"},
	CapImmediateExit:          {"IMMEDIATE_EXIT", "VCPU.SetImmediateExit"},
	CapX86DisableExits:        {"X86_DISABLE_EXITS", "HLT, MWAIT or PAUSE without exits. Value: bits for which"},
	CapHyperVSynIC2:           {"HYPERV_SYNIC2", "Hyper-V's interrupt controller"},
	CapHyperVVPIndex:          {"HYPERV_VP_INDEX", "Hyper-V's VCPU index can be set"},
	CapGetMSRFeatures:         {"GET_MSR_FEATURES", "Device.MSRFeatureIndices"},
	CapHyperVEventFD:          {"HYPERV_EVENTFD", "Hyper-V's signal hypercall rings an eventfd"},
	CapHyperVTLBFlush:         {"HYPERV_TLBFLUSH", "Hyper-V's TLB flush hypercall"},
	CapNestedState:            {"NESTED_STATE", "state of a guest that is itself a hypervisor. Value: bytes"},
	CapMSRPlatformInfo:        {"MSR_PLATFORM_INFO", "the guest may read MSR_PLATFORM_INFO"},
	CapHyperVSendIPI:          {"HYPERV_SEND_IPI", "Hyper-V's IPI hypercall"},
	CapCoalescedPIO:           {"COALESCED_PIO", "batch of port writes without exits"},
	CapHyperVEnlightenedVMCS:  {"HYPERV_ENLIGHTENED_VMCS", "Hyper-V's form of nested VMX"},
	CapExceptionPayload:       {"EXCEPTION_PAYLOAD", "Events.Payload, once enabled"},
	CapManualDirtyLogProtect:  {"MANUAL_DIRTY_LOG_PROTECT", "obsolete; MANUAL_DIRTY_LOG_PROTECT2 replaces it"},
	CapHyperVCPUID:            {"HYPERV_CPUID", "which Hyper-V features a VCPU can have"},
	CapManualDirtyLogProtect2: {"MANUAL_DIRTY_LOG_PROTECT2", "clear the dirty log page by page. Value: bits for which modes"},
	CapPMUEventFilter:         {"PMU_EVENT_FILTER", "which performance events the guest may count"},
	CapHyperVDirectTLBFlush:   {"HYPERV_DIRECT_TLBFLUSH", "Hyper-V's TLB flush for nested guests"},
	CapHaltPoll:               {"HALT_POLL", "how long KVM polls before it sleeps in HLT"},
	CapAsyncPFInt:             {"ASYNC_PF_INT", "ASYNC_PF by interrupt"},
	CapLastCPU:                {"LAST_CPU", "FailEntry.CPU is filled"},
	CapSmallerMaxPhyAddr:      {"SMALLER_MAXPHYADDR", "guests with fewer physical address bits than the host"},
	CapStealTime:              {"STEAL_TIME", "tell the guest of time it did not get"},
	CapX86UserSpaceMSR:        {"X86_USER_SPACE_MSR", "MSR accesses exit. Value: bits for which"},
	CapX86MSRFilter:           {"X86_MSR_FILTER", "which MSRs KVM handles"},
	CapEnforcePVFeatureCPUID:  {"ENFORCE_PV_FEATURE_CPUID", "paravirtual features only if CPUID offers them"},
	CapSysHyperVCPUID:         {"SYS_HYPERV_CPUID", "which Hyper-V features the host can give"},
	CapDirtyLogRing:           {"DIRTY_LOG_RING", "dirty pages in a ring per VCPU. Value: its largest size in bytes"},
	CapX86BusLockExit:         {"X86_BUS_LOCK_EXIT", "exit on bus locks. Value: bits for which modes"},
	CapSetGuestDebug2:         {"SET_GUEST_DEBUG2", "SetGuestDebug. Value: the GuestDebugFlags known"},
	CapSGXAttribute:           {"SGX_ATTRIBUTE", "privileged SGX attributes for the guest"},
	CapVMCopyEncContextFrom:   {"VM_COPY_ENC_CONTEXT_FROM", "share an SEV guest's key with a second VM"},
	CapPTPKVM:                 {"PTP_KVM", "precise time from the host (arm64)"},
	CapHyperVEnforceCPUID:     {"HYPERV_ENFORCE_CPUID", "Hyper-V features only if CPUID offers them"},
	CapSregs2:                 {"SREGS2", "special registers with PDPTRs"},
	CapExitHypercall:          {"EXIT_HYPERCALL", "hypercalls exit. Value: bits for which"},
	CapBinaryStatsFD:          {"BINARY_STATS_FD", "statistics of a VM or VCPU"},
	CapExitOnEmulationFailure: {"EXIT_ON_EMULATION_FAILURE", "exit where user code cannot be emulated, instead of #UD"},
	CapVMMoveEncContextFrom:   {"VM_MOVE_ENC_CONTEXT_FROM", "hand an SEV guest to another process"},
	CapVMGPABits:              {"VM_GPA_BITS", "guest-physical address bits. Value: how many"},
	CapXSAVE2:                 {"XSAVE2", "XSAVE areas beyond 4096 bytes. Value: bytes"},
	CapSysAttributes:          {"SYS_ATTRIBUTES", "attributes of the device"},
	CapPMUCapability:          {"PMU_CAPABILITY", "switch the guest's PMU off. Value: bits"},
	CapDisableQuirks2:         {"DISABLE_QUIRKS2", "switch off historical misbehaviour. Value: bits for which"},
	CapVMTSCControl:           {"VM_TSC_CONTROL", "TSC frequency of a whole VM"},
	CapSystemEventData:        {"SYSTEM_EVENT_DATA", "SystemEvent.Data is filled"},
	CapX86TripleFaultEvent:    {"X86_TRIPLE_FAULT_EVENT", "Events.TripleFault, once enabled"},
	CapX86NotifyVMExit:        {"X86_NOTIFY_VMEXIT", "exit when the guest blocks interrupts too long. Value: bits"},
	CapVMDisableNXHugePages:   {"VM_DISABLE_NX_HUGE_PAGES", "no iTLB multihit mitigation for this VM"},
	CapDirtyLogRingACQREL:     {"DIRTY_LOG_RING_ACQ_REL", "DIRTY_LOG_RING on weakly ordered hosts. Value: bytes"},
}

// Caps iterates over the capabilities that this package names, in numerical order.
func Caps() iter.Seq[Cap] {
	return func(yield func(Cap) bool) {
		for c, row := range capTable {
			if row.name != "" && !yield(Cap(c)) {
				return
			}
		}
	}
}

// String returns the name from the kernel's headers, "KVM_CAP_IRQCHIP".
func (c Cap) String() string {
	if int64(c) < int64(len(capTable)) && capTable[c].name != "" {
		return "KVM_CAP_" + capTable[c].name
	}
	return fmt.Sprintf("Cap(%d)", uint32(c))
}

// Purpose returns in a line what the capability is for, or "" if this package does
// not name it.
func (c Cap) Purpose() string {
	if int64(c) < int64(len(capTable)) {
		return capTable[c].purpose
	}
	return ""
}
