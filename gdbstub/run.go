package gdbstub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// A course is how the machine is to go on: what each processor does, and the addresses within which one of them steps without stopping.
type course struct {
	actions    []Action
	ranged     int // the processor that steps within a range, or -1
	start, end uint64
}

func (s *session) course() course {
	return course{actions: make([]Action, s.target.CPUs()), ranged: -1}
}

// goOn carries out "c", "C", "s" and "S", which gdb sends only where there is no "vCont". Signals mean nothing to a machine.
func (s *session) goOn(ctx context.Context, how byte, rest []byte) error {
	if how == 'c' || how == 's' {
		if len(rest) > 0 {
			return s.answer(EINVAL) // to go on elsewhere, which gdb does by setting the register
		}
	}
	c := s.course()
	for i := range c.actions {
		if s.goesOn < 0 || i == s.goesOn {
			c.actions[i] = Run
		}
	}
	if how == 's' || how == 'S' {
		cpu := s.goesOn
		if cpu < 0 {
			cpu = s.general
		}
		c.actions[cpu] = Step
	}
	return s.run(ctx, c)
}

// vCont carries out the packet of that name: actions with threads, of which the first that names a thread counts for it.
func (s *session) vCont(ctx context.Context, text []byte) error {
	c := s.course()
	decided := make([]bool, len(c.actions))
	any := false
	for len(text) > 0 {
		var one []byte
		one, text, _ = bytes.Cut(text, []byte(";"))
		what, id, named := bytes.Cut(one, []byte(":"))
		first, last := 0, len(c.actions)-1
		if named && string(id) != "-1" {
			cpu, err := s.thread(id)
			if err != nil {
				return s.answer(err)
			}
			first, last = cpu, cpu
		}
		for cpu := first; cpu <= last; cpu++ {
			if decided[cpu] {
				continue
			}
			if !c.set(cpu, what) {
				return s.answer(EINVAL)
			}
			decided[cpu], any = true, true
		}
	}
	if !any {
		return s.answer(EINVAL)
	}
	return s.run(ctx, c)
}

// set gives a processor its part of a "vCont".
func (c *course) set(cpu int, what []byte) bool {
	if len(what) == 0 {
		return false
	}
	switch what[0] {
	case 'c', 'C':
		c.actions[cpu] = Run
	case 's', 'S':
		c.actions[cpu] = Step
	case 'r':
		start, end, ok := area(what[1:])
		if !ok {
			return false
		}
		c.actions[cpu] = Step
		c.ranged, c.start, c.end = cpu, start, end
	default:
		return false
	}
	return true
}

// stays says whether a stop is a step that did not leave the range.
func (c *course) stays(stop Stop) bool {
	return stop.Reason == Stepped && stop.CPU == c.ranged && c.start <= stop.PC && stop.PC < c.end
}

// run lets the machine go on and sends why it stands still again. It does not go on at all if an interrupt has come since it was told last that it
// stands still (gdb's manual, appendix E, "Interrupts").
func (s *session) run(ctx context.Context, c course) error {
	for !s.interrupted {
		if err := s.target.Resume(c.actions); err != nil {
			return s.ended(err)
		}
		stop, err := s.await(ctx)
		if err != nil {
			return s.ended(err)
		}
		if !c.stays(stop) {
			return s.stopped(stop)
		}
	}
	s.interrupted = false
	return s.stopped(Stop{CPU: s.general, Reason: Interrupted})
}

// stopped sends why the machine stands still.
func (s *session) stopped(stop Stop) error {
	s.stop, s.general = stop, stop.CPU
	return s.reply("%s", s.stopReply())
}

// ended tells the peer that the machine has ended, if that is what err says, and gives err.
func (s *session) ended(err error) error {
	var end *EndError
	if !errors.As(err, &end) {
		return err
	}
	if end.Signal != 0 {
		_ = s.reply("X%02x", end.Signal)
	} else {
		_ = s.reply("W%02x", end.Code)
	}
	return err
}

// await waits until the machine stands still: by itself, or because the peer wants it.
func (s *session) await(ctx context.Context) (Stop, error) {
	type outcome struct {
		stop Stop
		err  error
	}
	waitCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		stop, err := s.target.Wait(waitCtx)
		done <- outcome{stop, err}
	}()
	for {
		select {
		case o := <-done:
			return o.stop, o.err
		case i, ok := <-s.in:
			switch {
			case ok && i.kind == nackIn:
				continue
			case ok && i.kind == interrupt:
				pauseErr := s.target.Pause(ctx)
				cancel()
				o := <-done
				if pauseErr != nil {
					return Stop{}, pauseErr
				}
				if o.err != nil {
					return Stop{CPU: s.general, Reason: Interrupted}, nil
				}
				s.interrupted = true // behind what it has come to at that moment
				return o.stop, nil
			}
			cancel()
			<-done // Wait must not be under way when Detach is called
			if ok {
				return Stop{}, errEager
			}
			return Stop{}, s.inErr
		}
	}
}

// Signals in gdb's numbers.
const (
	sigInt  = 2
	sigTrap = 5
)

// stopReply says why the machine stands still. Until it has run the reason is that the debugger has come.
func (s *session) stopReply() string {
	thread := s.stop.CPU + 1
	switch s.stop.Reason {
	case AtSoftware:
		return fmt.Sprintf("T%02xthread:%x;swbreak:;", sigTrap, thread)
	case AtHardware:
		return fmt.Sprintf("T%02xthread:%x;hwbreak:;", sigTrap, thread)
	case AfterWrite:
		return fmt.Sprintf("T%02xthread:%x;watch:%x;", sigTrap, thread, s.stop.Addr)
	case AfterAccess:
		return fmt.Sprintf("T%02xthread:%x;awatch:%x;", sigTrap, thread, s.stop.Addr)
	case Stepped:
		return fmt.Sprintf("T%02xthread:%x;", sigTrap, thread)
	}
	return fmt.Sprintf("T%02xthread:%x;", sigInt, thread)
}
