package agent

import (
	"bytes"
	"context"
	"errors"
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
	} {
		var out, errs bytes.Buffer
		s := NewSession(&out, &errs)
		s.Write(stream)
		select {
		case <-s.Ended():
			if _, err := s.Status(); !errors.Is(err, errFrame) {
				t.Errorf("%s: %v", name, err)
			}
		default:
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
	stream := AppendFrame(nil, Ready, nil)
	stream = AppendFrame(stream, Output, []byte("to be\n"))
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
		for rest := p; len(rest) > 0; rest = rest[min(len(rest), 7):] {
			s.Write(rest[:min(len(rest), 7)])
		}
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
