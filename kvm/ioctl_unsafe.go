package kvm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// An ioctl's number says which way its argument travels, how large it is, which
// subsystem it belongs to and which command it is (include/uapi/asm-generic/ioctl.h):
//
//	31 30 | 29 .. 16 | 15 .. 8 | 7 .. 0
//	 way  |   size   |  0xAE   | number
//
// The size is that of the Go struct that mirrors the kernel's, so a struct of the
// wrong size makes a number that the kernel refuses; layout_test.go compares
// every number with the kernel's headers all the same.
const (
	ioN  = kvmio << 8           // no argument, or a plain integer
	ioW  = kvmio<<8 | 1<<30     // the kernel reads the argument
	ioR  = kvmio<<8 | 2<<30     // the kernel writes the argument
	ioWR = kvmio<<8 | (1|2)<<30 // both

	kvmio    = 0xAE // KVMIO
	sizeFrom = 16   // the size's lowest bit
)

// System ioctls.
const (
	kvmGetAPIVersion      request = ioN | 0x00
	kvmCreateVM           request = ioN | 0x01
	kvmGetMSRIndexList    request = ioWR | 0x02 | request(unsafe.Sizeof(uint32(0)))<<sizeFrom
	kvmCheckExtension     request = ioN | 0x03
	kvmGetVCPUMmapSize    request = ioN | 0x04
	kvmGetSupportedCPUID  request = ioWR | 0x05 | sizeofCPUID<<sizeFrom
	kvmGetEmulatedCPUID   request = ioWR | 0x09 | sizeofCPUID<<sizeFrom
	kvmGetMSRFeatureIndex request = ioWR | 0x0a | request(unsafe.Sizeof(uint32(0)))<<sizeFrom
)

// VM ioctls.
const (
	kvmCreateVCPU          request = ioN | 0x41
	kvmGetDirtyLog         request = ioW | 0x42 | request(unsafe.Sizeof(dirtyLog{}))<<sizeFrom
	kvmSetUserMemoryRegion request = ioW | 0x46 | request(unsafe.Sizeof(userspaceMemoryRegion{}))<<sizeFrom
	kvmSetTSSAddr          request = ioN | 0x47
	kvmSetIdentityMapAddr  request = ioW | 0x48 | request(unsafe.Sizeof(uint64(0)))<<sizeFrom
	kvmCreateIRQChip       request = ioN | 0x60
	kvmIRQLine             request = ioW | 0x61 | request(unsafe.Sizeof(irqLevel{}))<<sizeFrom
	kvmGetIRQChip          request = ioWR | 0x62 | request(unsafe.Sizeof(IRQChip{}))<<sizeFrom
	// KVM_SET_IRQCHIP is declared with the wrong way round in the kernel, for good.
	kvmSetIRQChip    request = ioR | 0x63 | request(unsafe.Sizeof(IRQChip{}))<<sizeFrom
	kvmSetGSIRouting request = ioW | 0x6a | request(unsafe.Sizeof(routingHeader{}))<<sizeFrom
	kvmIRQFD         request = ioW | 0x76 | request(unsafe.Sizeof(irqfd{}))<<sizeFrom
	kvmCreatePIT2    request = ioW | 0x77 | request(unsafe.Sizeof(pitConfig{}))<<sizeFrom
	kvmSetBootCPUID  request = ioN | 0x78
	kvmIOEventFD     request = ioW | 0x79 | request(unsafe.Sizeof(ioeventfd{}))<<sizeFrom
	kvmSetClock      request = ioW | 0x7b | request(unsafe.Sizeof(ClockData{}))<<sizeFrom
	kvmGetClock      request = ioR | 0x7c | request(unsafe.Sizeof(ClockData{}))<<sizeFrom
	kvmGetPIT2       request = ioR | 0x9f | request(unsafe.Sizeof(PITState{}))<<sizeFrom
	kvmSetPIT2       request = ioW | 0xa0 | request(unsafe.Sizeof(PITState{}))<<sizeFrom
	kvmEnableCap     request = ioW | 0xa3 | request(unsafe.Sizeof(enableCap{}))<<sizeFrom
	kvmSignalMSI     request = ioW | 0xa5 | request(unsafe.Sizeof(msi{}))<<sizeFrom
)

// VCPU ioctls.
const (
	kvmRun           request = ioN | 0x80
	kvmGetRegs       request = ioR | 0x81 | request(unsafe.Sizeof(Regs{}))<<sizeFrom
	kvmSetRegs       request = ioW | 0x82 | request(unsafe.Sizeof(Regs{}))<<sizeFrom
	kvmGetSregs      request = ioR | 0x83 | request(unsafe.Sizeof(Sregs{}))<<sizeFrom
	kvmSetSregs      request = ioW | 0x84 | request(unsafe.Sizeof(Sregs{}))<<sizeFrom
	kvmTranslate     request = ioWR | 0x85 | request(unsafe.Sizeof(Translation{}))<<sizeFrom
	kvmGetMSRs       request = ioWR | 0x88 | sizeofMSRs<<sizeFrom
	kvmSetMSRs       request = ioW | 0x89 | sizeofMSRs<<sizeFrom
	kvmGetFPU        request = ioR | 0x8c | request(unsafe.Sizeof(FPU{}))<<sizeFrom
	kvmSetFPU        request = ioW | 0x8d | request(unsafe.Sizeof(FPU{}))<<sizeFrom
	kvmGetLAPIC      request = ioR | 0x8e | request(unsafe.Sizeof(LAPIC{}))<<sizeFrom
	kvmSetLAPIC      request = ioW | 0x8f | request(unsafe.Sizeof(LAPIC{}))<<sizeFrom
	kvmSetCPUID2     request = ioW | 0x90 | sizeofCPUID<<sizeFrom
	kvmGetCPUID2     request = ioWR | 0x91 | sizeofCPUID<<sizeFrom
	kvmGetMPState    request = ioR | 0x98 | request(unsafe.Sizeof(MPState(0)))<<sizeFrom
	kvmSetMPState    request = ioW | 0x99 | request(unsafe.Sizeof(MPState(0)))<<sizeFrom
	kvmNMI           request = ioN | 0x9a
	kvmSetGuestDebug request = ioW | 0x9b | request(unsafe.Sizeof(GuestDebug{}))<<sizeFrom
	kvmGetVCPUEvents request = ioR | 0x9f | request(unsafe.Sizeof(Events{}))<<sizeFrom
	kvmSetVCPUEvents request = ioW | 0xa0 | request(unsafe.Sizeof(Events{}))<<sizeFrom
	kvmGetDebugRegs  request = ioR | 0xa1 | request(unsafe.Sizeof(DebugRegs{}))<<sizeFrom
	kvmSetDebugRegs  request = ioW | 0xa2 | request(unsafe.Sizeof(DebugRegs{}))<<sizeFrom
	kvmSetTSCKHz     request = ioN | 0xa2
	kvmGetTSCKHz     request = ioN | 0xa3
	kvmGetXsave      request = ioR | 0xa4 | request(unsafe.Sizeof(Xsave{}))<<sizeFrom
	kvmSetXsave      request = ioW | 0xa5 | request(unsafe.Sizeof(Xsave{}))<<sizeFrom
	kvmGetXcrs       request = ioR | 0xa6 | request(unsafe.Sizeof(Xcrs{}))<<sizeFrom
	kvmSetXcrs       request = ioW | 0xa7 | request(unsafe.Sizeof(Xcrs{}))<<sizeFrom
	kvmKVMClockCtrl  request = ioN | 0xad
)

// Structs that end in an array of any length count without it.
const (
	sizeofCPUID = request(unsafe.Offsetof(cpuid2{}.entries))
	sizeofMSRs  = request(unsafe.Offsetof(msrs{}.entries))
)

// ioctl issues req with a plain integer argument on o's descriptor.
func ioctl(o owner, req request, arg uintptr) (int, error) {
	fd, err := o.acquire()
	if err != nil {
		return 0, &Error{Op: req.String(), Err: err}
	}
	defer o.release()
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), arg)
		if errno == 0 {
			return int(r), nil
		}
		if !interrupted(errno) {
			return 0, &Error{Op: req.String(), Err: errno}
		}
	}
}

// ioctlPtr issues req with a pointer to its argument. T must be the struct that
// req's number was computed from, or the first element of what begins with it.
func ioctlPtr[T any](o owner, req request, arg *T) (int, error) {
	fd, err := o.acquire()
	if err != nil {
		return 0, &Error{Op: req.String(), Err: err}
	}
	defer o.release()
	for {
		// The conversion stands in the call, so the compiler keeps *arg alive
		// and in place until the kernel is done with it (unsafe.Pointer's rule 4).
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(arg)))
		if errno == 0 {
			return int(r), nil
		}
		if !interrupted(errno) {
			return 0, &Error{Op: req.String(), Err: errno}
		}
	}
}
