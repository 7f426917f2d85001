package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// Flags of sigaction(2). The kernel wants a restorer, which is never used: the handler does not return.
const (
	saSiginfo  = 0x4
	saOnStack  = 0x08000000
	saRestorer = 0x04000000
)

// violated is the handler of SIGSYS. Only the kernel calls it.
func violated()

// violatedPC gives its address.
func violatedPC() uintptr

// handleSIGSYS makes violated the handler of SIGSYS, on the stack that each thread of Go's has for signals.
func handleSIGSYS() error {
	pc := violatedPC()
	act := sigaction{handler: pc, flags: saSiginfo | saOnStack | saRestorer, restorer: pc, mask: ^uint64(0)}
	_, _, errno := unix.Syscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSYS), uintptr(unsafe.Pointer(&act)), 0, unsafe.Sizeof(act.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
