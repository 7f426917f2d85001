package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
)

// A Session is the host's side. Its Write takes what the guest's console gives, and Run passes the output on.
type Session struct {
	decoder Decoder
	out     io.Writer
	errs    io.Writer
	outbox  outbox
	passed  int // bytes, since the guest was told

	sendMu sync.Mutex
	send   func(context.Context, []byte) (int, error)
	buf    []byte

	room chan struct{} // holds a token when input was taken since Feed last looked
	left atomic.Int64  // bytes of Window that are free

	ready chan struct{}
	ended chan struct{}
	ran   chan struct{} // closed when Run returns

	listens context.Context // done when there is nobody in the guest any more to send to
	deaf    context.CancelFunc

	endMu  sync.Mutex
	over   bool // the end has come from the guest
	status int
	reason string // why the command did not run
	err    error  // the first
}

// NewSession returns a Session that passes the command's output on to out and errs, which may be the same. An error of theirs ends the session.
func NewSession(out, errs io.Writer) *Session {
	s := &Session{
		out: out, errs: errs, outbox: newOutbox(), room: make(chan struct{}, 1),
		ready: make(chan struct{}), ended: make(chan struct{}), ran: make(chan struct{}),
	}
	s.listens, s.deaf = context.WithCancel(context.Background())
	s.left.Store(Window)
	s.decoder.Handle = s.handle
	return s
}

// Connect says how bytes get to the guest's console. It is called once, before anything is sent.
func (s *Session) Connect(send func(context.Context, []byte) (int, error)) { s.send = send }

// Ready is closed when the guest listens, which is when it starts the command.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// Ended is closed by Run when the command has ended, or could not be started, or the stream broke, and all output was passed on.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Gone is closed when the command is gone, though its output may still be on its way.
func (s *Session) Gone() <-chan struct{} { return s.listens.Done() }

// A StartError says why the guest did not start the command, with the status that a shell would exit with.
type StartError struct {
	Status int
	Reason string
}

func (e *StartError) Error() string { return e.Reason }

// Status gives the command's exit status, 128 and the signal's number if one ended it. It is to be called when Ended is closed.
func (s *Session) Status() (int, error) {
	s.endMu.Lock()
	defer s.endMu.Unlock()
	if s.reason != "" {
		return s.status, &StartError{s.status, s.reason}
	}
	return s.status, s.err
}

// Write takes bytes from the guest, and waits for nobody. After the end it discards them. It is not for several goroutines at a time.
func (s *Session) Write(p []byte) (int, error) {
	if _, err := s.decoder.Write(p); err != nil {
		s.finish(err)
	}
	return len(p), nil
}

// finish is the end as the guest has it.
func (s *Session) finish(err error) {
	s.endMu.Lock()
	defer s.endMu.Unlock()
	s.over = true
	if s.err == nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	s.gone()
}

// gone says that nothing more comes from the guest, and that nothing goes there.
func (s *Session) gone() {
	s.deaf()
	s.outbox.end()
}

// Run passes the output on, as fast as it is taken, until the session or ctx ends. It is called once, in a goroutine of its own, after Connect.
func (s *Session) Run(ctx context.Context) {
	defer close(s.ran)
	var frames []byte
	for over := false; !over; {
		select {
		case <-s.outbox.change:
		case <-ctx.Done():
			return
		}
		frames, over = s.outbox.take(frames)
		if err := s.pass(ctx, frames); err != nil {
			s.finish(err)
			break
		}
	}
	s.endMu.Lock()
	defer s.endMu.Unlock()
	if s.over && ctx.Err() == nil { // else not all of the output may have been taken
		close(s.ended)
	}
}

// Flush says that no more will be written, because the guest is gone, and waits until what has come is passed on, or ctx is done.
func (s *Session) Flush(ctx context.Context) {
	s.gone()
	select {
	case <-s.ran:
	case <-ctx.Done():
	}
}

// Join waits until Run has returned, which is soon after its context is done, if who takes the output sees to that.
func (s *Session) Join() { <-s.ran }

// pass passes frames on, and tells the guest, if it is there. The guest may not listen, but what is passed on does not depend on that once it is gone.
func (s *Session) pass(ctx context.Context, frames []byte) error {
	for len(frames) > 0 {
		size := int(binary.LittleEndian.Uint16(frames[2:]))
		to := s.out
		if Kind(frames[0]) == Errors {
			to = s.errs
		}
		if _, err := to.Write(frames[headerSize : headerSize+size]); err != nil {
			return err
		}
		frames = frames[headerSize+size:]
		s.outbox.passed(size)
		if s.passed += size; s.passed >= passedStep {
			_ = s.frame(ctx, Passed, binary.LittleEndian.AppendUint32(nil, uint32(s.passed)))
			s.passed = 0
		}
		if ctx.Err() != nil {
			return nil // Run sees to it
		}
	}
	return nil
}

func (s *Session) handle(kind Kind, p []byte) error {
	switch {
	case kind == Ready && len(p) == 0:
		select {
		case <-s.ready:
			return streamError("ready twice")
		default:
			close(s.ready)
		}
		return nil
	case kind == Output || kind == Errors:
		if !s.outbox.put(kind, p) {
			return streamError("more output than there is room for")
		}
		return nil
	case kind == Taken && len(p) == 4:
		return s.taken(int64(binary.LittleEndian.Uint32(p)))
	case kind == Exit && len(p) == 1:
		return s.end(int(p[0]), "")
	case kind == Failure && len(p) > 1:
		return s.end(int(p[0]), printable(p[1:]))
	}
	return frameError(kind, len(p))
}

func (s *Session) taken(n int64) error {
	if n > Window-s.left.Load() { // only Feed lowers it
		return streamError(strconv.FormatInt(n, 10) + " bytes of input were taken that were not sent")
	}
	s.left.Add(n)
	select {
	case s.room <- struct{}{}:
	default:
	}
	return nil
}

func (s *Session) end(status int, reason string) error {
	s.endMu.Lock()
	defer s.endMu.Unlock()
	if !s.over {
		s.status, s.reason = status, reason
	}
	return io.EOF
}

// printable makes one line of what the guest says, that does nothing to a terminal.
func printable(p []byte) string {
	line := make([]rune, 0, len(p))
	for _, r := range string(p[:min(len(p), 1000)]) {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			r = '?'
		}
		line = append(line, r)
	}
	return string(line)
}

// Feed passes r on to the command's standard input, until it or ctx ends. It is called once.
func (s *Session) Feed(ctx context.Context, r io.Reader) error {
	p := make([]byte, MaxPayload)
	for {
		n, err := r.Read(p)
		if n > 0 {
			if err := s.input(ctx, p[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return s.frame(ctx, Input, nil)
		case err != nil:
			return err
		}
	}
}

// input sends a piece of input when there is room for it.
func (s *Session) input(ctx context.Context, p []byte) error {
	for s.left.Load() < int64(len(p)) {
		select {
		case <-s.room:
		case <-s.listens.Done():
			return s.listens.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.left.Add(-int64(len(p)))
	return s.frame(ctx, Input, p)
}

// Signal sends the command a signal.
func (s *Session) Signal(ctx context.Context, number int) error {
	return s.frame(ctx, Signal, []byte{byte(number)})
}

// Resize tells the command's terminal its size.
func (s *Session) Resize(ctx context.Context, cols, rows uint16) error {
	return s.frame(ctx, Resize, binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, cols), rows))
}

// frame sends a frame whole, or as far as ctx lets it, when the guest listens.
func (s *Session) frame(ctx context.Context, kind Kind, p []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.listens, cancel)()
	select {
	case <-s.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	s.buf = AppendFrame(s.buf[:0], kind, p)
	_, err := s.send(ctx, s.buf)
	return err
}
