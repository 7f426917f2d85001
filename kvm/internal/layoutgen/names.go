package main

// cStruct is one struct of the kernel's headers, and its fields in the order in which
// the Go struct has them. "kvm_run.io" is the member io of struct kvm_run, with
// offsets from its own beginning. A field of a nested struct without a name of its own
// is written exception.nr. An array of any length at the end is left out.
type cStruct struct{ name, fields string }

var cStructs = []cStruct{
	{"kvm_userspace_memory_region", "slot flags guest_phys_addr memory_size userspace_addr"},
	{"kvm_dirty_log", "slot padding1 dirty_bitmap"},
	{"kvm_enable_cap", "cap flags args pad"},
	{"kvm_irq_level", "irq level"},
	{"kvm_irqfd", "fd gsi flags resamplefd pad"},
	{"kvm_ioeventfd", "datamatch addr len fd flags pad"},
	{"kvm_msi", "address_lo address_hi data flags devid pad"},
	{"kvm_irq_routing", "nr flags"},
	{"kvm_irq_routing_entry", "gsi type flags pad u.irqchip.irqchip u.irqchip.pin u.msi.address_lo u.msi.address_hi u.msi.data"},
	{"kvm_clock_data", "clock flags pad0 realtime host_tsc pad"},
	{"kvm_pit_config", "flags pad"},
	{"kvm_pit_channel_state", "count latched_count count_latched status_latched status read_state write_state write_latch rw_mode mode bcd gate count_load_time"},
	{"kvm_pit_state2", "channels flags reserved"},
	{"kvm_irqchip", "chip_id pad chip"},
	{"kvm_pic_state", "last_irr irr imr isr priority_add irq_base read_reg_select poll special_mask init_state auto_eoi rotate_on_auto_eoi special_fully_nested_mode init4 elcr elcr_mask"},
	{"kvm_ioapic_state", "base_address ioregsel id irr pad redirtbl"},

	{"kvm_run", "request_interrupt_window immediate_exit padding1 exit_reason ready_for_interrupt_injection if_flag flags cr8 apic_base padding kvm_valid_regs kvm_dirty_regs s"},
	{"kvm_run.io", "direction size port count data_offset"},
	{"kvm_run.mmio", "phys_addr data len is_write"},
	{"kvm_run.debug", "arch.exception arch.pad arch.pc arch.dr6 arch.dr7"},
	{"kvm_run.fail_entry", "hardware_entry_failure_reason cpu"},
	{"kvm_run.internal", "suberror ndata data"},
	{"kvm_run.system_event", "type ndata data"},

	{"kvm_regs", "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags"},
	{"kvm_segment", "base limit selector type present dpl db s l g avl unusable padding"},
	{"kvm_dtable", "base limit padding"},
	{"kvm_sregs", "cs ds es fs gs ss tr ldt gdt idt cr0 cr2 cr3 cr4 cr8 efer apic_base interrupt_bitmap"},
	{"kvm_translation", "linear_address physical_address valid writeable usermode pad"},
	{"kvm_fpu", "fpr fcw fsw ftwx pad1 last_opcode last_ip last_dp xmm mxcsr pad2"},
	{"kvm_xsave", "region"},
	{"kvm_xcr", "xcr reserved value"},
	{"kvm_xcrs", "nr_xcrs flags xcrs padding"},
	{"kvm_lapic_state", "regs"},
	{"kvm_vcpu_events", "exception.injected exception.nr exception.has_error_code exception.pending exception.error_code " +
		"interrupt.injected interrupt.nr interrupt.soft interrupt.shadow " +
		"nmi.injected nmi.pending nmi.masked nmi.pad sipi_vector flags " +
		"smi.smm smi.pending smi.smm_inside_nmi smi.latched_init " +
		"triple_fault.pending reserved exception_has_payload exception_payload"},
	{"kvm_mp_state", "mp_state"},
	{"kvm_debugregs", "db dr6 dr7 flags reserved"},
	{"kvm_guest_debug", "control pad arch.debugreg"},
	{"kvm_cpuid_entry2", "function index flags eax ebx ecx edx padding"},
	{"kvm_cpuid2", "nent padding"},
	{"kvm_msr_entry", "index reserved data"},
	{"kvm_msrs", "nmsrs pad"},
	{"kvm_msr_list", "nmsrs"},
}

// cRequests are the ioctls that package kvm issues.
var cRequests = []string{
	"KVM_GET_API_VERSION", "KVM_CREATE_VM", "KVM_GET_MSR_INDEX_LIST", "KVM_CHECK_EXTENSION",
	"KVM_GET_VCPU_MMAP_SIZE", "KVM_GET_SUPPORTED_CPUID", "KVM_GET_EMULATED_CPUID",
	"KVM_GET_MSR_FEATURE_INDEX_LIST",

	"KVM_CREATE_VCPU", "KVM_GET_DIRTY_LOG", "KVM_SET_USER_MEMORY_REGION", "KVM_SET_TSS_ADDR",
	"KVM_SET_IDENTITY_MAP_ADDR", "KVM_CREATE_IRQCHIP", "KVM_IRQ_LINE", "KVM_GET_IRQCHIP",
	"KVM_SET_IRQCHIP", "KVM_SET_GSI_ROUTING", "KVM_IRQFD", "KVM_CREATE_PIT2",
	"KVM_SET_BOOT_CPU_ID", "KVM_IOEVENTFD", "KVM_SET_CLOCK", "KVM_GET_CLOCK", "KVM_GET_PIT2",
	"KVM_SET_PIT2", "KVM_ENABLE_CAP", "KVM_SIGNAL_MSI",

	"KVM_RUN", "KVM_GET_REGS", "KVM_SET_REGS", "KVM_GET_SREGS", "KVM_SET_SREGS", "KVM_TRANSLATE",
	"KVM_GET_MSRS", "KVM_SET_MSRS", "KVM_GET_FPU", "KVM_SET_FPU", "KVM_GET_LAPIC", "KVM_SET_LAPIC",
	"KVM_SET_CPUID2", "KVM_GET_CPUID2", "KVM_GET_MP_STATE", "KVM_SET_MP_STATE", "KVM_NMI",
	"KVM_SET_GUEST_DEBUG", "KVM_GET_VCPU_EVENTS", "KVM_SET_VCPU_EVENTS", "KVM_GET_DEBUGREGS",
	"KVM_SET_DEBUGREGS", "KVM_SET_TSC_KHZ", "KVM_GET_TSC_KHZ", "KVM_GET_XSAVE", "KVM_SET_XSAVE",
	"KVM_GET_XCRS", "KVM_SET_XCRS", "KVM_KVMCLOCK_CTRL",
}

// cConstants are the other numbers that package kvm repeats.
var cConstants = []string{
	"KVM_API_VERSION",
	"KVM_MEM_LOG_DIRTY_PAGES", "KVM_MEM_READONLY",
	"KVM_IRQFD_FLAG_DEASSIGN",
	"KVM_IOEVENTFD_FLAG_DATAMATCH", "KVM_IOEVENTFD_FLAG_PIO", "KVM_IOEVENTFD_FLAG_DEASSIGN",
	"KVM_IRQ_ROUTING_IRQCHIP", "KVM_IRQ_ROUTING_MSI",
	"KVM_IRQCHIP_PIC_MASTER", "KVM_IRQCHIP_PIC_SLAVE", "KVM_IRQCHIP_IOAPIC", "KVM_IOAPIC_NUM_PINS",
	"KVM_PIT_SPEAKER_DUMMY",
	"KVM_CLOCK_TSC_STABLE", "KVM_CLOCK_REALTIME", "KVM_CLOCK_HOST_TSC",
	"KVM_CPUID_FLAG_SIGNIFCANT_INDEX",
	"KVM_MP_STATE_RUNNABLE", "KVM_MP_STATE_UNINITIALIZED", "KVM_MP_STATE_INIT_RECEIVED",
	"KVM_MP_STATE_HALTED", "KVM_MP_STATE_SIPI_RECEIVED",
	"KVM_VCPUEVENT_VALID_NMI_PENDING", "KVM_VCPUEVENT_VALID_SIPI_VECTOR", "KVM_VCPUEVENT_VALID_SHADOW",
	"KVM_VCPUEVENT_VALID_SMM", "KVM_VCPUEVENT_VALID_PAYLOAD", "KVM_VCPUEVENT_VALID_TRIPLE_FAULT",
	"KVM_GUESTDBG_ENABLE", "KVM_GUESTDBG_SINGLESTEP", "KVM_GUESTDBG_USE_SW_BP", "KVM_GUESTDBG_USE_HW_BP",
	"KVM_GUESTDBG_INJECT_DB", "KVM_GUESTDBG_INJECT_BP", "KVM_GUESTDBG_BLOCKIRQ",
	"KVM_EXIT_IO_OUT",
	"KVM_INTERNAL_ERROR_EMULATION", "KVM_INTERNAL_ERROR_SIMUL_EX", "KVM_INTERNAL_ERROR_DELIVERY_EV",
	"KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON", "KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES",
	"KVM_SYSTEM_EVENT_SHUTDOWN", "KVM_SYSTEM_EVENT_RESET", "KVM_SYSTEM_EVENT_CRASH",
	"KVM_SYSTEM_EVENT_WAKEUP", "KVM_SYSTEM_EVENT_SUSPEND", "KVM_SYSTEM_EVENT_SEV_TERM",
}
