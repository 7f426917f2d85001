package gdbstub

import (
	"context"
	"fmt"
)

// A Target is a machine that is debugged. One goroutine at a time calls its methods, but for Wait, during which it may call Pause. Processors are
// numbered from 0 to CPUs()-1; the number that a method gets is one of these. All that looks into the machine or changes it is
// called only while all processors stand still.
type Target interface {
	// CPUs is the number of processors, at least 1. It does not change.
	CPUs() int

	// Pause has all processors stand still, and returns when they do. An *EndError says that the machine has ended.
	Pause(ctx context.Context) error

	// Resume lets processors go on: actions[i] says what processor i does. It does not wait.
	Resume(actions []Action) error

	// Wait returns when a processor has come to something and all stand still because of it. It fails with an *EndError when the machine has
	// ended, or with the cause of ctx.
	Wait(ctx context.Context) (Stop, error)

	// End is closed when the machine has ended.
	End() <-chan struct{}

	// Detach removes all breakpoints and lets all processors run.
	Detach() error

	// Kill ends the machine.
	Kill()

	// Registers and SetRegisters read and write a processor's registers. What the machine does not let be changed stays as it is.
	Registers(cpu int) (*Registers, error)
	SetRegisters(cpu int, r *Registers) error

	// ReadMemory fills p from a virtual address on, as the processor would translate it, and gives how many bytes it has got: fewer with an error.
	// WriteMemory writes all of p, or nothing or a part with an error.
	ReadMemory(cpu int, addr uint64, p []byte) (int, error)
	WriteMemory(cpu int, addr uint64, p []byte) error

	// Insert adds a breakpoint, for all processors; the address is one of that processor's. To insert one that is there changes nothing, nor
	// does it to remove one that is not.
	Insert(cpu int, b Breakpoint) error
	Remove(cpu int, b Breakpoint) error

	// Describe says in a few words what a processor does.
	Describe(cpu int) string

	// Monitor carries out what was typed behind gdb's "monitor", and gives what there is to say, of whole lines.
	Monitor(cpu int, command string) string
}

// Action is what a processor does when the machine goes on.
type Action int

// Actions for Target.Resume.
const (
	Stay Action = iota // stands still
	Run
	Step // one instruction
)

// A Stop says why the machine stands still.
type Stop struct {
	CPU    int
	Reason Reason
	Addr   uint64 // of a watchpoint: what was accessed
	PC     uint64 // where the processor is
}

// Reason is why a machine stands still.
type Reason int

// Reasons of a Stop.
const (
	Interrupted Reason = iota // it was asked to
	Stepped
	AtSoftware // a breakpoint of that kind
	AtHardware
	AfterWrite  // a watchpoint of that kind
	AfterAccess // read or written
)

// A Breakpoint is a place at which, or an access at which, the machine is to stop.
type Breakpoint struct {
	Kind BreakKind
	Addr uint64 // virtual
	Size uint64 // bytes of memory that a watchpoint is for; 1 for others
}

// BreakKind is a kind of breakpoint, numbered as in the packets "Z" and "z".
type BreakKind int

// Kinds of breakpoints. There is no kind that stops at reads alone, because the processors have none.
const (
	Software    BreakKind = 0
	Hardware    BreakKind = 1
	WatchWrite  BreakKind = 2
	WatchAccess BreakKind = 4
)

// An EndError says that the machine has ended and how.
type EndError struct {
	Signal int // as whose victim a process would have ended, in gdb's numbers; 0 if it ended by itself
	Code   byte
}

// Error is one line.
func (e *EndError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("the machine was ended (signal %d)", e.Signal)
	}
	return fmt.Sprintf("the machine has ended (status %d)", e.Code)
}

// Errno is an error with a number that gdb shows: gdb's, which are those of Linux.
type Errno byte

// Numbers of errors.
const (
	ENOENT Errno = 2
	EIO    Errno = 5
	EFAULT Errno = 14 // no memory there
	EINVAL Errno = 22
	ENOSPC Errno = 28 // no more breakpoints of that kind
)

// Error is the number.
func (e Errno) Error() string { return fmt.Sprintf("error %d", byte(e)) }
