package machine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"govmm/kvm"
	"govmm/trace"
)

// vcpu is one virtual processor and the goroutine that is its life: locked to an
// OS thread, it creates the vCPU, makes all its ioctls and runs it. KVM ties a
// vCPU to the thread that last used it, and switching costs (api.rst, "vcpu ioctls").
type vcpu struct {
	id  int
	m   *Machine
	cpu *kvm.VCPU // set before live reports ready

	ring *trace.Ring // nil if exits are not recorded

	tid  atomic.Int32 // the OS thread; zero when it is gone
	stop atomic.Bool  // it is to leave the guest, and to attend to why
	stance
}

// live is the vCPU's goroutine. It reports on ready once, when the vCPU exists and
// has its first state, and ends when the machine stops.
func (v *vcpu) live(ready chan<- error) {
	defer v.m.vcpusDone.Done()
	// Never unlocked: the thread ends with the goroutine, and with it what
	// KVM keeps of it.
	runtime.LockOSThread()
	v.tid.Store(int32(unix.Gettid()))
	defer v.tid.Store(0)

	err := v.m.setUpVCPU(v)
	ready <- err
	if err != nil {
		return
	}
	<-v.m.start
	defer v.recoverPanic()
	if v.id == 0 && !v.m.hasEnded() {
		if err := v.m.setEntry(v.cpu); err != nil {
			v.m.end(Outcome{}, fmt.Errorf("vCPU %d: %w", v.id, err))
			return
		}
		v.m.markEntry()
	}
	for !v.stop.Load() || v.attend() {
		exit, err := v.cpu.Run()
		if err != nil {
			v.m.end(Outcome{}, v.runError(err))
			return
		}
		if v.ring != nil {
			v.dispatchTraced(exit)
			continue
		}
		v.dispatch(exit)
	}
}

// runError puts a failed KVM_RUN into words.
func (v *vcpu) runError(err error) error {
	if errors.Is(err, unix.EFAULT) {
		// All RAM is mapped, so a page that cannot be had is one of a file that has no such page any more.
		return fmt.Errorf("vCPU %d: a part of guest RAM is gone: a kernel or initrd file was cut short while the guest used it: %w", v.id, err)
	}
	return fmt.Errorf("vCPU %d: %w", v.id, err)
}

// markEntry marks that the guest is entered for the first time.
func (m *Machine) markEntry() {
	m.cfg.Timeline.Mark(StageInstruction)
	if !m.selfUnpacking {
		m.cfg.Timeline.Mark(StageKernel)
	}
}

// recoverPanic turns a panic of the monitor's into the end of the run, so that
// whoever called Run can put the terminal back before the process ends.
func (v *vcpu) recoverPanic() {
	if r := recover(); r != nil {
		v.m.end(Outcome{}, &PanicError{Value: r, Stack: debug.Stack()})
	}
}

// A PanicError is a bug in the monitor, caught on a vCPU's goroutine.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// dispatch answers one exit.
func (v *vcpu) dispatch(exit *kvm.Exit) {
	switch exit.Reason {
	case kvm.ExitIO:
		v.portIO(exit.IO())
	case kvm.ExitMMIO:
		a := exit.MMIO()
		if a.Write {
			v.m.mmio.Write(a.Addr, a.Data)
		} else {
			v.m.mmio.Read(a.Addr, a.Data)
		}
	case kvm.ExitIntr:
		// A kick, which live's loop sees, or one of the Go runtime's signals.
	case kvm.ExitSystemEvent:
		v.systemEvent(exit)
	case kvm.ExitDebug:
		v.debugExit(exit)
	default:
		v.m.end(Outcome{}, crash(v.id, v.rip(), exit))
	}
}

// portIO answers an IN or OUT, or each element of a string instruction in turn.
func (v *vcpu) portIO(io kvm.IO) {
	for i := range io.Count {
		p := io.Data[i*io.Size:][:io.Size]
		if io.Write {
			v.m.pio.Write(uint64(io.Port), p)
		} else {
			v.m.pio.Read(uint64(io.Port), p)
		}
	}
}

func (v *vcpu) systemEvent(exit *kvm.Exit) {
	switch exit.SystemEvent().Type {
	case kvm.SystemShutdown:
		v.m.end(Outcome{Reason: PowerOff}, nil)
	case kvm.SystemReset:
		v.m.end(Outcome{Reason: Reset}, nil)
	default:
		v.m.end(Outcome{}, crash(v.id, v.rip(), exit))
	}
}

// rip is for messages; zero where KVM does not tell.
func (v *vcpu) rip() uint64 {
	regs, err := v.cpu.Regs()
	if err != nil {
		return 0
	}
	return regs.RIP
}

// kick makes the vCPU leave the guest and attend to what is asked of it, which is said before. Order matters: a vCPU that is about to enter
// the guest sees immediate_exit, one that is inside gets the signal. SIGURG, because the Go
// runtime has a handler for it that takes stray ones for nothing.
func (v *vcpu) kick() {
	v.stop.Store(true)
	v.cpu.SetImmediateExit(true)
	if tid := v.tid.Load(); tid != 0 {
		// ESRCH: the thread ended meanwhile, which is what was wanted.
		_ = unix.Tgkill(os.Getpid(), int(tid), unix.SIGURG)
	}
}
