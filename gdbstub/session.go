package gdbstub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// writeTimeout is how long a peer may leave what it is sent unread, where the connection has deadlines.
const writeTimeout = 30 * time.Second

// A session is one connection of a debugger's.
type session struct {
	target Target
	conn   io.ReadWriter
	in     <-chan input
	inErr  error // why in was closed; valid then

	noAck   bool // the peer wants no acknowledgements
	last    []byte
	faults  int
	general int // the processor that packets about registers and memory are about
	goesOn  int // the one that the packets "c" and "s" are about, or -1 for all
	stop    Stop

	interrupted bool // the peer wants the machine to stand still, and was not told since that it does
}

var (
	errDetached = errors.New("the debugger has left")
	errKilled   = errors.New("the debugger has ended the machine")
	errOver     = errors.New("the machine was ended while it stood still")
	errFaults   = errors.New("too many broken packets in a row")
	errEager    = errors.New("a packet while the machine runs")
)

// Serve waits for a debugger's first packet, pauses the machine and serves that debugger until it leaves, vanishes or does not keep to the
// protocol. In each case the machine has no breakpoints then, and runs. One who connects and never says anything of the protocol's changes nothing.
// Serve returns nil if the debugger has left by itself or the machine was ended from elsewhere, an *EndError if the machine has ended, the cause of
// ctx, or what was wrong. The caller closes conn, which is also what ends a Read that is under way; until then a goroutine may hang in it.
func Serve(ctx context.Context, conn io.ReadWriter, t Target) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan input)
	s := &session{target: t, conn: conn, in: in, goesOn: -1}
	go s.receive(ctx, in)
	first, err := s.next(ctx)
	if err == nil {
		err = t.Pause(ctx)
	}
	if err != nil {
		return leave(err)
	}
	err = s.serve(ctx, first)
	if detachErr := t.Detach(); detachErr != nil && errors.Is(err, errDetached) {
		err = detachErr
	}
	return leave(err)
}

// leave gives what Serve returns: nothing has gone wrong if the session was to end.
func leave(err error) error {
	if errors.Is(err, errDetached) || errors.Is(err, errKilled) || errors.Is(err, errOver) {
		return nil
	}
	return err
}

// receive reads what the peer sends. It is never ahead by more than one input.
func (s *session) receive(ctx context.Context, in chan<- input) {
	defer close(in)
	r := bufio.NewReader(s.conn)
	if s.inErr = begins(r); s.inErr != nil {
		return
	}
	for {
		i, err := readInput(r)
		if err != nil {
			s.inErr = err
			return
		}
		select {
		case in <- i:
		case <-ctx.Done():
			return
		}
	}
}

// next gives the next input while the machine stands still, or the first one.
func (s *session) next(ctx context.Context) (input, error) {
	select {
	case i, ok := <-s.in:
		if !ok {
			return i, s.inErr
		}
		return i, nil
	case <-s.target.End():
		return input{}, errOver
	case <-ctx.Done():
		return input{}, context.Cause(ctx)
	}
}

func (s *session) serve(ctx context.Context, i input) error {
	for {
		err := s.take(ctx, i)
		if err == nil {
			i, err = s.next(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// take answers one input.
func (s *session) take(ctx context.Context, i input) error {
	switch i.kind {
	case interrupt:
		s.interrupted = true
		return nil
	case brokenIn:
		if s.faults++; s.noAck || s.faults > maxFaults {
			return errFaults
		}
		return s.write([]byte{'-'})
	case nackIn:
		if s.faults++; s.faults > maxFaults {
			return errFaults
		}
		return s.write(s.last)
	}
	s.faults = 0
	if !s.noAck {
		if err := s.write([]byte{'+'}); err != nil {
			return err
		}
	}
	return s.command(ctx, i.packet)
}

// reply sends a packet of text.
func (s *session) reply(format string, args ...any) error {
	return s.send(fmt.Appendf(nil, format, args...))
}

// send sends a packet with a payload that has been escaped where it must be.
func (s *session) send(payload []byte) error {
	s.last = appendPacket(s.last[:0], payload)
	return s.write(s.last)
}

// answer sends OK, or the number of an error.
func (s *session) answer(err error) error {
	var end *EndError
	switch {
	case err == nil:
		return s.reply("OK")
	case errors.As(err, &end):
		return err
	}
	return s.reply("E%02x", byte(number(err)))
}

// number is the number of an error that gdb shows.
func number(err error) Errno {
	var e Errno
	if errors.As(err, &e) {
		return e
	}
	return EIO
}

func (s *session) write(b []byte) error {
	if d, ok := s.conn.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	_, err := s.conn.Write(b)
	return err
}
