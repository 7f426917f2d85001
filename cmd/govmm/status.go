package main

import (
	"errors"
	"fmt"
	"syscall"

	"govmm/devices/debugexit"
	"govmm/machine"
)

// Exit statuses, as boot's help documents them.
const (
	statusOK      = 0
	statusUsage   = 1
	statusCrash   = 2
	statusSignal0 = 128 // plus the signal's number
)

const statusHelp = `Exit status:
  0        the guest powered off or rebooted, or was ended with Ctrl-A X or by gdb's kill
  1        wrong usage, or an error of the host
  2        the guest crashed: triple fault, or KVM could not go on
  159      the sandbox ended it: the monitor made a system call that it never makes by itself
  130,143  ended by SIGINT or SIGTERM (in general, 128 and the signal's number)
  (v<<1)|1 with --debug-exit, the guest wrote v to port 0xf4`

// statusError ends the program with a status; err may be nil, when there is nothing to say.
type statusError struct {
	code int
	err  error
}

func (e *statusError) Error() string { return fmt.Sprintf("exit status %d: %v", e.code, e.err) }
func (e *statusError) Unwrap() error { return e.err }

// signalError is the cause with which a signal cancels the run.
type signalError struct{ sig syscall.Signal }

func (e *signalError) Error() string { return "ended by " + e.sig.String() }

// errEscape is the cause with which Ctrl-A X cancels the run.
var errEscape = errors.New("ended from the console")

// runStatus turns how a run ended into the program's status.
func runStatus(o machine.Outcome, err error) error {
	var (
		crash *machine.CrashError
		sig   *signalError
	)
	switch {
	case err == nil && o.Reason == machine.DebugExit:
		return &statusError{code: debugexit.Status(o.Code)}
	case err == nil, errors.Is(err, errEscape), errors.Is(err, errGDBKill):
		return nil
	case errors.As(err, &crash):
		return &statusError{code: statusCrash, err: err}
	case errors.As(err, &sig):
		return &statusError{code: statusSignal0 + int(sig.sig), err: err}
	}
	return err
}
