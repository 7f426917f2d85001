package kvm

import (
	"io/fs"
	"structs"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// runData is struct kvm_run, through which KVM_RUN takes its parameters and gives its
// results (api.rst 5). It is shared with the host's kernel, not with the guest. The
// kernel writes to it only within KVM_RUN.
type runData struct {
	_                          structs.HostLayout
	requestInterruptWindow     uint8
	immediateExit              uint8
	_                          [6]uint8
	exitReason                 ExitReason
	readyForInterruptInjection uint8
	ifFlag                     uint8
	flags                      uint16
	cr8                        uint64
	apicBase                   uint64
	exit                       [32]uint64 // a union; exit_unsafe.go gives it its fields
	kvmValidRegs               uint64
	kvmDirtyRegs               uint64
	syncRegs                   [2048]uint8
}

// immediateExitBit is bit 0 of runData.immediateExit within the first 32-bit word.
// sync/atomic has no byte operations, and the word's other bytes are also only
// written by this process. All of KVM's Go architectures that matter are little-endian.
const immediateExitBit = 1 << (8 * unsafe.Offsetof(runData{}.immediateExit))

// runPage is the mapping of a VCPU's runData and of the port I/O data behind it. Its
// lock keeps SetImmediateExit, which may come from any goroutine, away from a page
// that Close has unmapped. Run does not take it: VCPU.mu keeps Close away from Run.
type runPage struct {
	mu   sync.Mutex
	page []byte // nil after Close
	data *runData
}

// attach adopts what KVM_CREATE_VCPU's descriptor was mapped to.
func (v *VCPU) attach(page []byte) error {
	if len(page) < int(unsafe.Sizeof(runData{})) {
		return &Error{Op: kvmGetVCPUMmapSize.String(), Err: unix.EINVAL}
	}
	v.run.page = page
	v.run.data = (*runData)(unsafe.Pointer(unsafe.SliceData(page)))
	v.exit.run = v.run.data
	v.exit.page = page
	return nil
}

// detach unmaps the page.
func (v *VCPU) detach() error {
	v.run.mu.Lock()
	defer v.run.mu.Unlock()
	page := v.run.page
	v.run.page, v.run.data = nil, nil
	return unix.Munmap(page)
}

// SetImmediateExit makes KVM_RUN return at once instead of entering the guest
// (kvm_run.immediate_exit, api.rst 5; CapImmediateExit), until it is called with
// false: Run then gives ExitIntr. It is an atomic store that any goroutine may do at any
// time, after Close too.
//
// To interrupt a Run from outside, set it and then send the VCPU's thread a signal;
// SIGURG is one that a Go program already expects at any time. The order matters: a
// signal that arrives before KVM_RUN is over without effect, and then the flag stops it.
//
// It is also how to complete an access: KVM takes the answer to an ExitIO or ExitMMIO
// read, and moves on from the instruction, only when KVM_RUN is entered again. Run once
// with the flag set before reading a VCPU's registers to save them.
func (v *VCPU) SetImmediateExit(on bool) {
	v.run.mu.Lock()
	defer v.run.mu.Unlock()
	if v.run.data == nil {
		return
	}
	word := (*uint32)(unsafe.Pointer(v.run.data))
	if on {
		atomic.OrUint32(word, immediateExitBit)
	} else {
		atomic.AndUint32(word, ^uint32(immediateExitBit))
	}
}

// Run enters the guest and returns when it needs the host (KVM_RUN, api.rst 4.10 and
// 5). The Exit belongs to the VCPU and holds until the next Run or Close. A signal,
// SetImmediateExit, and a VCPU that is not yet to run give ExitIntr and no error: the
// caller looks whether someone wants something of it, and runs again. An error is a
// failure of the host or, as unix.EBUSY and fs.ErrClosed, of the caller. Run does not
// allocate.
//
// # How it enters the kernel
//
// The Go runtime lets a goroutine run Go code only while its thread holds one of
// GOMAXPROCS tokens, called P. A plain system call lends its P out when it takes longer
// than some 20 us and has to fetch one back afterwards, which costs a locked thread
// several times what the exit itself does. A raw system call keeps the P, as if it
// computed all the time. So Run makes raw calls, and a process wants one P for each
// VCPU beside those for its other work.
//
// Two things follow from the runtime's taking Run for a computation:
//
//   - To stop the world or to share a P, the runtime sets a flag in the goroutine and
//     sends its thread SIGURG. The signal ends KVM_RUN with EINTR, and the flag is seen
//     at the next function call, whose prologue tests it (finish and Run itself are such
//     calls). So a guest that spins without an exit does not hold up the garbage collector.
//     GODEBUG=asyncpreemptoff=1 takes the signal away: the whole process then waits at each
//     collection until every guest exits by itself.
//   - The runtime's monitor does the same to whatever has computed for 10 ms. A busy
//     guest does not mind, but one that idles inside KVM_RUN would be woken 100 times a
//     second for nothing. Hence after EINTR the next call is a plain one, which leaves its
//     P behind and is then left alone, until KVM_RUN again returns because of the guest.
//
//go:noinline
func (v *VCPU) Run() (*Exit, error) {
	if !v.mu.TryLock() {
		return nil, &Error{Op: kvmRun.String(), Err: unix.EBUSY}
	}
	if v.fd < 0 {
		v.mu.Unlock()
		return nil, &Error{Op: kvmRun.String(), Err: fs.ErrClosed}
	}
	var errno unix.Errno
	if v.parked {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), uintptr(kvmRun), 0)
	} else {
		_, _, errno = unix.RawSyscall(unix.SYS_IOCTL, uintptr(v.fd), uintptr(kvmRun), 0)
	}
	err := v.finish(errno)
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &v.exit, nil
}

// finish turns the outcome of KVM_RUN into v.exit. It is a function of its own, neither
// inlined nor a leaf, so that there is a preemption point right behind the raw call:
// the compiler gives a leaf with a small frame no prologue that would be one.
//
//go:noinline
func (v *VCPU) finish(errno unix.Errno) error {
	switch errno {
	case 0:
		v.parked = false
		v.exit.Reason = v.run.data.exitReason
	case unix.EINTR, unix.EAGAIN:
		// EAGAIN: a VCPU that waits for its INIT or SIPI was woken.
		v.parked = true
		v.exit.Reason = ExitIntr
	default:
		v.parked = false
		v.exit.Reason = ExitUnknown
		return &Error{Op: kvmRun.String(), Err: errno}
	}
	return nil
}
