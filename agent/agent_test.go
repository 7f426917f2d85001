package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestDecoder splits a stream everywhere.
func TestDecoder(t *testing.T) {
	stream := AppendFrame(nil, Ready, nil)
	stream = AppendFrame(stream, Output, bytes.Repeat([]byte("x"), MaxPayload))
	stream = AppendFrame(stream, Exit, []byte{7})
	for step := 1; step < 100; step++ {
		var kinds []Kind
		var size int
		d := Decoder{Handle: func(k Kind, p []byte) error {
			kinds, size = append(kinds, k), size+len(p)
			return nil
		}}
		for rest := stream; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			if _, err := d.Write(rest[:min(step, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		if len(kinds) != 3 || kinds[0] != Ready || kinds[1] != Output || kinds[2] != Exit || size != MaxPayload+1 {
			t.Errorf("in pieces of %d: frames %v with %d bytes", step, kinds, size)
		}
	}
}

// TestBrokenStreams holds that what a guest must not send ends the session with an error, and only then.
func TestBrokenStreams(t *testing.T) {
	for name, stream := range map[string][]byte{
		"a frame that is too long": {byte(Output), 0, 0xff, 0xff},
		"a header with more in it": {byte(Output), 1, 0, 0},
		"an unknown kind":          AppendFrame(nil, 77, nil),
		"the host's kind":          AppendFrame(nil, Input, []byte("x")),
		"ready with bytes":         AppendFrame(nil, Ready, []byte("x")),
		"ready twice":              AppendFrame(AppendFrame(nil, Ready, nil), Ready, nil),
		"exit without status":      AppendFrame(nil, Exit, nil),
		"failure without reason":   AppendFrame(nil, Failure, []byte{1}),
		"taken what was not sent":  AppendFrame(nil, Taken, []byte{1, 0, 0, 0}),
		"taken more than all":      AppendFrame(nil, Taken, []byte{0, 0, 0, 0x80}),
		"the host's word":          AppendFrame(nil, Passed, []byte{0, 0, 0, 0}),
	} {
		var out, errs bytes.Buffer
		s := NewSession(&out, &errs)
		go s.Run(t.Context())
		s.Write(stream)
		select {
		case <-s.Ended():
			if _, err := s.Status(); !errors.Is(err, errFrame) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: the session goes on", name)
		}
		if n, err := s.Write(stream); n != len(stream) || err != nil {
			t.Errorf("%s: after the end, %d, %v", name, n, err)
		}
	}
}

func TestSessionOutput(t *testing.T) {
	var out, errs bytes.Buffer
	s := NewSession(&out, &errs)
	go s.Run(t.Context())
	stream := AppendFrame(nil, Ready, nil)
	stream = AppendFrame(stream, Output, []byte("to be\n"))
	stream = AppendFrame(stream, Output, nil)
	stream = AppendFrame(stream, Errors, []byte{0, 0xff})
	stream = AppendFrame(stream, Output, []byte("or not\n"))
	s.Write(AppendFrame(stream, Exit, []byte{42}))
	<-s.Ended()
	if status, err := s.Status(); status != 42 || err != nil || out.String() != "to be\nor not\n" || errs.String() != "\x00\xff" {
		t.Errorf("status %d, %v; output %q, errors %q", status, err, out.String(), errs.String())
	}
}

func TestStartError(t *testing.T) {
	s := NewSession(nil, nil)
	go s.Run(t.Context())
	s.Write(AppendFrame(nil, Failure, append([]byte{127}, "not\nthere \x1b[2J"...)))
	<-s.Ended()
	status, err := s.Status()
	var start *StartError
	if status != 127 || !errors.As(err, &start) || start.Status != 127 || err.Error() != "not?there ?[2J" {
		t.Errorf("status %d, %v", status, err)
	}
}

// TestFeed holds that input waits for the guest to listen, and for the command to take it, and that a signal does not.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSession(nil, nil)
		var mu sync.Mutex
		got := map[Kind]int{}
		guest := Decoder{Handle: func(k Kind, p []byte) error { got[k] += len(p); return nil }}
		s.Connect(func(_ context.Context, p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return guest.Write(p)
		})
		const size = 3 * Window
		fed := make(chan error, 1)
		go func() { fed <- s.Feed(t.Context(), strings.NewReader(strings.Repeat("x", size))) }()
		synctest.Wait()
		if got[Input] != 0 {
			t.Errorf("%d bytes came before the guest listens", got[Input])
		}
		s.Write(AppendFrame(nil, Ready, nil))
		for want := Window; ; want += MaxPayload {
			synctest.Wait()
			if got[Input] != min(want, size) {
				t.Fatalf("%d bytes came, want %d", got[Input], want)
			}
			if want >= size+Window {
				break
			}
			s.Write(AppendFrame(nil, Taken, []byte{MaxPayload & 0xff, MaxPayload >> 8, 0, 0}))
		}
		if err := <-fed; err != nil {
			t.Error(err)
		}
		if err := s.Signal(t.Context(), 15); err != nil || got[Signal] != 1 {
			t.Errorf("signal: %v, %v", err, got)
		}
	})
}

// TestFeedEnds holds that a command that takes no input does not keep Feed from ending.
func TestFeedEnds(t *testing.T) {
	s := NewSession(nil, nil)
	s.Connect(func(_ context.Context, p []byte) (int, error) { return len(p), nil })
	s.Write(AppendFrame(nil, Ready, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Feed(ctx, strings.NewReader(strings.Repeat("x", 10*Window))); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A reader is one that takes output when it is told to.
type reader struct {
	bytes.Buffer
	take chan int // how many writes
}

func (r *reader) Write(p []byte) (int, error) {
	if <-r.take == 0 {
		return 0, io.ErrClosedPipe
	}
	return r.Buffer.Write(p)
}

// TestOutputWindow holds that output which nobody takes keeps neither the guest's console waiting nor signals from the command, that the guest is told
// when there is room again, and that the session ends only when all of it was taken.
func TestOutputWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &reader{take: make(chan int)}
		s := NewSession(out, out)
		got := map[Kind]int{}
		passed := 0
		guest := Decoder{Handle: func(k Kind, p []byte) error {
			got[k]++
			if k == Passed {
				passed += int(binary.LittleEndian.Uint32(p))
			}
			return nil
		}}
		s.Connect(func(_ context.Context, p []byte) (int, error) { return guest.Write(p) })
		go s.Run(t.Context())
		s.Write(AppendFrame(nil, Ready, nil))
		piece := bytes.Repeat([]byte("x"), MaxPayload)
		for range OutputWindow / MaxPayload {
			s.Write(AppendFrame(nil, Output, piece)) // returns
		}
		s.Write(AppendFrame(nil, Exit, []byte{3}))
		synctest.Wait()
		if err := s.Signal(t.Context(), 15); err != nil || got[Signal] != 1 || got[Passed] != 0 {
			t.Errorf("signal: %v, %v", err, got)
		}
		for taken := MaxPayload; taken <= OutputWindow; taken += MaxPayload {
			select {
			case <-s.Ended():
				t.Fatal("the session ended before its output was taken")
			default:
			}
			out.take <- 1
			synctest.Wait()
			if want := taken / passedStep * passedStep; passed != want {
				t.Errorf("%d bytes were taken, and the guest knows of %d, want %d", taken, passed, want)
			}
		}
		<-s.Ended()
		if status, err := s.Status(); status != 3 || err != nil || out.Len() != OutputWindow {
			t.Errorf("status %d, %v, %d bytes", status, err, out.Len())
		}
	})
}

// TestTooMuchOutput holds that a guest that sends more than there is room for ends the session, and that no more is held.
func TestTooMuchOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &reader{take: make(chan int, 10*OutputWindow)}
		s := NewSession(out, out)
		s.Connect(func(_ context.Context, p []byte) (int, error) { return len(p), nil })
		go s.Run(t.Context())
		s.Write(AppendFrame(nil, Ready, nil))
		for range 2 * OutputWindow {
			s.Write(AppendFrame(nil, Errors, []byte("x")))
			s.Write(AppendFrame(nil, Output, nil))
		}
		synctest.Wait()
		if n := cap(s.outbox.frames); n > 4*(headerSize+1)*OutputWindow {
			t.Errorf("%d bytes are held", n)
		}
		for range OutputWindow {
			out.take <- 1
		}
		<-s.Ended()
		if _, err := s.Status(); !errors.Is(err, errFrame) || out.Len() != OutputWindow {
			t.Errorf("%v, after %d bytes", err, out.Len())
		}
	})
}

// TestOutputFails holds that an error of who takes the output is the end, and one that comes of the run's end is not.
func TestOutputFails(t *testing.T) {
	for _, over := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			out := &reader{take: make(chan int)}
			s := NewSession(out, out)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go s.Run(ctx)
			s.Write(AppendFrame(nil, Output, []byte("x")))
			synctest.Wait()
			if over {
				cancel()
			}
			out.take <- 0
			s.Flush(t.Context())
			select {
			case <-s.Ended():
				if _, err := s.Status(); over || !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("run over: %v, and the session ended with %v", over, err)
				}
			default:
				if !over {
					t.Error("the session goes on")
				}
			}
		})
	}
}

// deaf is a guest that takes nothing.
func deaf(ctx context.Context, _ []byte) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestOutputOfTheGone holds that output is passed on whole, and the session ends, when the guest takes no more input because it is gone: after the end of its command, without
// one, by a broken stream, and before it was there; also with input on its way.
func TestOutputOfTheGone(t *testing.T) {
	for name, test := range map[string]struct {
		end   []byte
		ready bool
		ends  bool
	}{
		"exit":          {AppendFrame(nil, Exit, []byte{3}), true, true},
		"no exit":       {nil, true, false},
		"broken stream": {AppendFrame(nil, 77, nil), true, true},
		"never ready":   {AppendFrame(nil, Exit, []byte{3}), false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			out := &reader{take: make(chan int, OutputWindow)}
			s := NewSession(out, out)
			s.Connect(deaf)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go s.Run(ctx)
			if test.ready {
				s.Write(AppendFrame(nil, Ready, nil))
			}
			fed := make(chan error, 1)
			go func() { fed <- s.Feed(ctx, strings.NewReader(strings.Repeat("x", 2*Window))) }()
			synctest.Wait()
			for range OutputWindow / MaxPayload {
				s.Write(AppendFrame(nil, Output, make([]byte, MaxPayload)))
			}
			s.Write(test.end)
			for range OutputWindow / MaxPayload {
				out.take <- 1
			}
			s.Flush(ctx)
			ended := false
			select {
			case <-s.Ended():
				ended = true
			default:
			}
			if ctx.Err() != nil || out.Len() != OutputWindow || ended != test.ends {
				t.Errorf("%s: %d bytes of %d, ended %v", name, out.Len(), OutputWindow, ended)
			}
			<-s.Gone()
			<-fed
			s.Join()
		})
	}
}

// TestOutputCutOff holds that a command's status does not stand for output that was not taken when the run ended.
func TestOutputCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &reader{take: make(chan int)}
		s := NewSession(out, out)
		s.Connect(deaf)
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		s.Write(AppendFrame(AppendFrame(nil, Output, []byte("x")), Exit, []byte{0}))
		synctest.Wait()
		cancel()
		out.take <- 1 // which an output does that gives up
		s.Join()
		select {
		case <-s.Ended():
			t.Error("the session has ended as if all was well")
		default:
		}
	})
}

// TestFlush holds that what a guest has written that is gone is passed on, and is no end of the command.
func TestFlush(t *testing.T) {
	var out bytes.Buffer
	s := NewSession(&out, &out)
	s.Write(AppendFrame(nil, Output, []byte("last words")))
	go s.Run(t.Context())
	s.Flush(t.Context())
	select {
	case <-s.Ended():
		t.Error("the command has ended")
	default:
	}
	if out.String() != "last words" {
		t.Errorf("%q", out.String())
	}
}

// FuzzSession feeds a session what a hostile guest may send.
func FuzzSession(f *testing.F) {
	stream := AppendFrame(nil, Ready, nil)
	stream = AppendFrame(stream, Output, []byte("text"))
	f.Add(AppendFrame(stream, Exit, []byte{1}))
	f.Add(AppendFrame(stream, Failure, []byte("\x7fwhy")))
	f.Add(AppendFrame(stream, Taken, []byte{0, 0, 0, 0}))
	f.Add([]byte{2, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		var out bytes.Buffer
		s := NewSession(&out, &out)
		s.Connect(func(_ context.Context, p []byte) (int, error) { return len(p), nil })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		for rest := p; len(rest) > 0; rest = rest[min(len(rest), 7):] {
			s.Write(rest[:min(len(rest), 7)])
		}
		s.Flush(ctx)
		if out.Len() > len(p) || cap(s.decoder.frame) > 2*(headerSize+MaxPayload) {
			t.Errorf("%d bytes of output, %d held", out.Len(), cap(s.decoder.frame))
		}
		select {
		case <-s.Ended():
			_, err := s.Status()
			if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error %q", err)
			}
		default:
		}
	})
}
