package main

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"govmm/kvm"
)

// denyCap has the kernel answer 0 when this process asks KVM for a capability, which means that KVM lacks it. All other
// calls reach KVM.
func denyCap(c kvm.Cap) error {
	const checkExtension = 0xae03 // KVM_CHECK_EXTENSION, _IO(KVMIO, 0x03)
	return filterCalls([]unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_IOCTL, Jf: 5},
		{Code: load, K: request},
		{Code: equal, K: checkExtension, Jf: 3},
		{Code: load, K: argument},
		{Code: equal, K: uint32(c), Jf: 1},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO}, // with the number 0 it is a result and no error
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	})
}

// denyLandlock has the kernel answer as one without Landlock does.
func denyLandlock() error {
	return denyCall(unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS)
}

// denyChroot has the kernel answer as in a container that forbids chroot.
func denyChroot() error {
	return denyCall(unix.SYS_CHROOT, unix.EPERM)
}

// denyNamespaces has the kernel answer as in a container that forbids them, in which threads can be made, and processes.
func denyNamespaces() error {
	return filterCalls([]unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_UNSHARE, Jt: 4},
		{Code: equal, K: unix.SYS_CLONE, Jf: 2},
		{Code: load, K: option},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_NEWNS | unix.CLONE_NEWUSER, Jt: 1},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	})
}

// denySeccomp has the kernel answer as one without filters does.
func denySeccomp() error {
	return filterCalls([]unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_PRCTL, Jf: 3},
		{Code: load, K: option},
		{Code: equal, K: unix.PR_SET_SECCOMP, Jf: 1},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	})
}

func denyCall(nr uint32, with syscall.Errno) error {
	return filterCalls([]unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: nr, Jf: 1},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(with)},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	})
}

const (
	// Offsets in struct seccomp_data of the number and of the arguments' lower halves.
	number, option, request, argument = 0, 16, 24, 32

	load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	answer = unix.BPF_RET | unix.BPF_K
)

// filterCalls gives all threads of this process a filter.
func filterCalls(filter []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Without this a filter is for root only.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
