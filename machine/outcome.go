package machine

import (
	"fmt"
	"strings"

	"govmm/kvm"
)

// Outcome says how a guest that did nothing wrong ended its run.
type Outcome struct {
	Reason Reason
	Code   uint32 // what the guest wrote, for DebugExit
}

// Reason is why a run ended.
type Reason int

// The ways in which a guest ends its own run. The zero Reason is no end at all.
const (
	PowerOff  Reason = iota + 1 // ACPI S5
	Reset                       // reset register, i8042 or KVM's reset event
	DebugExit                   // the isa-debug-exit port, with Config.DebugExit
)

func (r Reason) String() string {
	switch r {
	case PowerOff:
		return "power-off"
	case Reset:
		return "reset"
	case DebugExit:
		return "debug exit"
	}
	return fmt.Sprintf("reason %d", int(r))
}

// A CrashError ends a run in which the guest did what a processor cannot go on from.
// It is the guest's doing (or an emulating KVM's), not a fault of the monitor.
type CrashError struct {
	CPU    int    // the vCPU that stopped, by its number
	RIP    uint64 // its instruction pointer, as far as KVM still knows it
	Exit   kvm.ExitReason
	Reason string // what KVM said of it
	Hint   string // the likely cause and what to do, may be empty
}

// Error is one line.
func (e *CrashError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the guest crashed: vCPU %d, RIP %#x: %s", e.CPU, e.RIP, e.Reason)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// crash makes the error for an exit from which there is no return.
func crash(cpu int, rip uint64, exit *kvm.Exit) *CrashError {
	c := &CrashError{CPU: cpu, RIP: rip, Exit: exit.Reason, Reason: exit.String()}
	switch exit.Reason {
	case kvm.ExitShutdown:
		c.Reason = "triple fault"
		c.Hint = "an exception with no working handler: a kernel for another machine, a corrupt image or too little memory"
	case kvm.ExitInternalError:
		c.Hint = "KVM could not emulate an instruction; where govmm check says hardware, the guest ran into memory that is not RAM"
	case kvm.ExitFailEntry:
		c.Hint = "the processor refused the guest's register state"
	}
	return c
}
