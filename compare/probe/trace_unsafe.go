package probe

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// syscallInfo is struct ptrace_syscall_info of linux/ptrace.h, with the part for an entry.
type syscallInfo struct {
	op   uint8
	arch uint32
	ip   uint64
	sp   uint64
	nr   uint64
	args [6]uint64
}

// ptraceSyscallInfo asks at which system call a thread has stopped (Linux 5.3).
func ptraceSyscallInfo(pid int) (info syscallInfo, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return info, errno
	}
	return info, nil
}

// childInfo is the part of siginfo_t that waitid(2) fills.
type childInfo struct {
	signo, errno, code int32
	_                  int32
	pid                int32
	_                  [108]byte
}

// childTrapped is si_code for a stop that is seen by ptrace (CLD_TRAPPED of asm-generic/siginfo.h).
const childTrapped = 4

// peek waits by waitid(2) for a child to stop for ptrace or to end, and leaves it as it is. With WNOHANG pid is 0 where there is none.
func peek(kind, id, options int) (pid int, isStop bool, err error) {
	var info childInfo
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, uintptr(kind), uintptr(id), uintptr(unsafe.Pointer(&info)), uintptr(options|unix.WNOWAIT), 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, false, errno
		}
		return int(info.pid), info.code == childTrapped, nil
	}
}
