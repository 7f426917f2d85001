package kvm

import (
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// request is an ioctl's number; ioctl_unsafe.go has them all.
type request uintptr

// String returns the name from the kernel's headers; it is what Error.Op shows.
func (r request) String() string {
	if name, ok := requestName(r); ok {
		return name
	}
	return fmt.Sprintf("ioctl(%#x)", uintptr(r))
}

func requestName(r request) (string, bool) {
	for _, n := range requestNames {
		if n.req == r {
			return n.name, true
		}
	}
	return "", false
}

// requestNames is only read on the way to an error, so a linear search will do.
var requestNames = [...]struct {
	req  request
	name string
}{
	{kvmGetAPIVersion, "KVM_GET_API_VERSION"},
	{kvmCreateVM, "KVM_CREATE_VM"},
	{kvmGetMSRIndexList, "KVM_GET_MSR_INDEX_LIST"},
	{kvmCheckExtension, "KVM_CHECK_EXTENSION"},
	{kvmGetVCPUMmapSize, "KVM_GET_VCPU_MMAP_SIZE"},
	{kvmGetSupportedCPUID, "KVM_GET_SUPPORTED_CPUID"},
	{kvmGetEmulatedCPUID, "KVM_GET_EMULATED_CPUID"},
	{kvmGetMSRFeatureIndex, "KVM_GET_MSR_FEATURE_INDEX_LIST"},

	{kvmCreateVCPU, "KVM_CREATE_VCPU"},
	{kvmGetDirtyLog, "KVM_GET_DIRTY_LOG"},
	{kvmSetUserMemoryRegion, "KVM_SET_USER_MEMORY_REGION"},
	{kvmSetTSSAddr, "KVM_SET_TSS_ADDR"},
	{kvmSetIdentityMapAddr, "KVM_SET_IDENTITY_MAP_ADDR"},
	{kvmCreateIRQChip, "KVM_CREATE_IRQCHIP"},
	{kvmIRQLine, "KVM_IRQ_LINE"},
	{kvmGetIRQChip, "KVM_GET_IRQCHIP"},
	{kvmSetIRQChip, "KVM_SET_IRQCHIP"},
	{kvmSetGSIRouting, "KVM_SET_GSI_ROUTING"},
	{kvmIRQFD, "KVM_IRQFD"},
	{kvmCreatePIT2, "KVM_CREATE_PIT2"},
	{kvmSetBootCPUID, "KVM_SET_BOOT_CPU_ID"},
	{kvmIOEventFD, "KVM_IOEVENTFD"},
	{kvmSetClock, "KVM_SET_CLOCK"},
	{kvmGetClock, "KVM_GET_CLOCK"},
	{kvmGetPIT2, "KVM_GET_PIT2"},
	{kvmSetPIT2, "KVM_SET_PIT2"},
	{kvmEnableCap, "KVM_ENABLE_CAP"},
	{kvmSignalMSI, "KVM_SIGNAL_MSI"},

	{kvmRun, "KVM_RUN"},
	{kvmGetRegs, "KVM_GET_REGS"},
	{kvmSetRegs, "KVM_SET_REGS"},
	{kvmGetSregs, "KVM_GET_SREGS"},
	{kvmSetSregs, "KVM_SET_SREGS"},
	{kvmTranslate, "KVM_TRANSLATE"},
	{kvmGetMSRs, "KVM_GET_MSRS"},
	{kvmSetMSRs, "KVM_SET_MSRS"},
	{kvmGetFPU, "KVM_GET_FPU"},
	{kvmSetFPU, "KVM_SET_FPU"},
	{kvmGetLAPIC, "KVM_GET_LAPIC"},
	{kvmSetLAPIC, "KVM_SET_LAPIC"},
	{kvmSetCPUID2, "KVM_SET_CPUID2"},
	{kvmGetCPUID2, "KVM_GET_CPUID2"},
	{kvmGetMPState, "KVM_GET_MP_STATE"},
	{kvmSetMPState, "KVM_SET_MP_STATE"},
	{kvmNMI, "KVM_NMI"},
	{kvmSetGuestDebug, "KVM_SET_GUEST_DEBUG"},
	{kvmGetVCPUEvents, "KVM_GET_VCPU_EVENTS"},
	{kvmSetVCPUEvents, "KVM_SET_VCPU_EVENTS"},
	{kvmGetDebugRegs, "KVM_GET_DEBUGREGS"},
	{kvmSetDebugRegs, "KVM_SET_DEBUGREGS"},
	{kvmSetTSCKHz, "KVM_SET_TSC_KHZ"},
	{kvmGetTSCKHz, "KVM_GET_TSC_KHZ"},
	{kvmGetXsave, "KVM_GET_XSAVE"},
	{kvmSetXsave, "KVM_SET_XSAVE"},
	{kvmGetXcrs, "KVM_GET_XCRS"},
	{kvmSetXcrs, "KVM_SET_XCRS"},
	{kvmKVMClockCtrl, "KVM_KVMCLOCK_CTRL"},
}

// owner is what an ioctl is issued on: a Device, a VM or a VCPU. It hands out its
// descriptor only for the duration of a call, so that no call ever reaches a
// number which Close has given back and another file has taken.
type owner interface {
	acquire() (fd int, err error) // fs.ErrClosed after Close
	release()                     // after each successful acquire
}

// handle owns the descriptor of a Device or a VM. Calls share it; close waits for
// those in flight, which are short.
type handle struct {
	mu sync.RWMutex
	fd int // -1 once closed
}

func (h *handle) acquire() (int, error) {
	h.mu.RLock()
	if h.fd < 0 {
		h.mu.RUnlock()
		return -1, fs.ErrClosed
	}
	return h.fd, nil
}

func (h *handle) release() { h.mu.RUnlock() }

func (h *handle) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return nil
	}
	err := unix.Close(h.fd)
	h.fd = -1
	if err != nil {
		return &Error{Op: "close", Err: err}
	}
	return nil
}

// get issues an ioctl that fills a T.
func get[T any](o owner, req request) (T, error) {
	var state T
	_, err := ioctlPtr(o, req, &state)
	return state, err
}

// set issues an ioctl that reads a T and has no result but success.
func set[T any](o owner, req request, state *T) error {
	_, err := ioctlPtr(o, req, state)
	return err
}

// interrupted reports whether an ioctl other than KVM_RUN is to be issued again.
// The Go runtime sends its threads SIGURG at any time, and KVM_CREATE_VM among
// others gives up when a signal is pending; nothing has been done then.
func interrupted(errno unix.Errno) bool { return errno == unix.EINTR }

// GuestRequests gives the numbers of the ioctls that a machine makes while its guest runs, with all vCPUs made and all memory
// registered: what a filter of system calls must leave to it (seccomp(2)). The most frequent is first.
func GuestRequests() []uint32 {
	return []uint32{
		uint32(kvmRun),
		uint32(kvmIRQLine),                                               // of devices that are not told apart by messages
		uint32(kvmIRQFD), uint32(kvmIOEventFD), uint32(kvmSetGSIRouting), // interrupts and doorbells that a driver sets up
		uint32(kvmGetSregs), uint32(kvmSetSregs), uint32(kvmSetRegs), // how the guest is entered
		uint32(kvmGetRegs), // where it has crashed
	}
}

// DebugRequests gives the numbers of the ioctls that a debugger makes in addition, on vCPUs that stand still (SetGuestDebug and the state that it looks at).
func DebugRequests() []uint32 {
	return []uint32{
		uint32(kvmSetGuestDebug),
		uint32(kvmGetFPU), uint32(kvmSetFPU),
		uint32(kvmGetMSRs), uint32(kvmSetMSRs), // the kernel's own GS base
		uint32(kvmGetDebugRegs), uint32(kvmSetDebugRegs), // of a guest that debugs itself
		uint32(kvmGetMPState),
	}
}
