package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"govmm/machine"
)

func TestEscapes(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []string // reads, one after another
		out  string
		cmd  escapeCommand // of the last read
	}{
		{"plain", []string{"ls\r"}, "ls\r", escapeNone},
		{"every byte but Ctrl-A", []string{"\x00\x02\x03\x7f\x80\xff"}, "\x00\x02\x03\x7f\x80\xff", escapeNone},
		{"quit", []string{"a\x01x"}, "a", escapeQuit},
		{"quit, capital", []string{"\x01X"}, "", escapeQuit},
		{"split between reads", []string{"a\x01", "x"}, "a", escapeQuit},
		{"Ctrl-A A", []string{"\x01ab"}, "\x01b", escapeNone},
		{"Ctrl-A twice", []string{"\x01\x01"}, "\x01", escapeNone},
		{"help", []string{"\x01h"}, "", escapeHelp},
		{"no command", []string{"\x01qz"}, "qz", escapeNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var (
				e   escapes
				out []byte
				cmd escapeCommand
			)
			for _, in := range tt.in {
				out, cmd, _ = e.filter(out, []byte(in))
			}
			if string(out) != tt.out || cmd != tt.cmd {
				t.Errorf("the guest gets %q, command %d; want %q, %d", out, cmd, tt.out, tt.cmd)
			}
		})
	}
}

func TestEscapesRest(t *testing.T) {
	var e escapes
	out, cmd, rest := e.filter(nil, []byte("a\x01hb"))
	if string(out) != "a" || cmd != escapeHelp || string(rest) != "b" {
		t.Errorf("%q, %d, rest %q", out, cmd, rest)
	}
}

// TestFeed holds that piped input reaches the guest whole, Ctrl-A and every other byte
// included, however slowly the guest takes it.
func TestFeed(t *testing.T) {
	want := make([]byte, 300_000)
	for i := range want {
		want[i] = byte(i)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		w.Write(want)
		w.Close()
	}()
	var got []byte
	c := &console{in: r}
	c.feed(t.Context(), func(_ context.Context, p []byte) (int, error) {
		got = append(got, p...)
		return len(p), nil
	})
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived of %d, or others", len(got), len(want))
	}
}

// TestReadNeverWaits holds that Ctrl-A X works behind a paste that the guest does not take.
func TestReadNeverWaits(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancelCause(t.Context())
	c := &console{in: r, end: end}
	typed := newTypeahead()
	paste := bytes.Repeat([]byte("0123456789"), 50_000)
	go func() {
		w.Write(append(bytes.Clone(paste), ctrlA, 'x'))
	}()
	c.read(typed)
	if !errors.Is(context.Cause(ctx), errEscape) {
		t.Fatalf("cause %v", context.Cause(ctx))
	}
	if got := typed.take(); !bytes.Equal(got, paste) {
		t.Errorf("%d bytes are held of %d, or others", len(got), len(paste))
	}
}

func TestOutputError(t *testing.T) {
	// Not descriptor 1, for which the Go runtime would have SIGPIPE kill the test.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	ctx, end := context.WithCancelCause(t.Context())
	o, err := newOutput(ctx, w, end)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	if n, err := o.Write([]byte("x")); n != 1 || err != nil {
		t.Fatalf("the guest sees %d, %v", n, err)
	}
	if !errors.Is(context.Cause(ctx), syscall.EPIPE) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}

// TestOutputUnread holds that a run waits for a reader, but not for ever: what comes then is dropped and counted, and goes on to him when he reads again.
func TestOutputUnread(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	o, err := newOutput(t.Context(), w, nil)
	must(t, err)
	defer o.close()
	o.unread, o.name = 50*time.Millisecond, "test"
	piece := make([]byte, 1<<20) // more than any pipe holds
	began := time.Now()
	o.Write(piece)
	if took := time.Since(began); took < o.unread {
		t.Errorf("it gave up after %v", took)
	}
	first := o.dropped.Load()
	o.Write(piece)
	if more := o.dropped.Load() - first; first == 0 || more != int64(len(piece)) {
		t.Errorf("%d bytes were dropped, and then %d of %d", first, more, len(piece))
	}
	taken, err := io.ReadFull(r, make([]byte, len(piece)-int(first)))
	must(t, err)
	o.Write([]byte("news"))
	got := make([]byte, 10)
	n, err := r.Read(got)
	if string(got[:n]) != "news" || err != nil || o.dropped.Load() != 0 || o.since.Load() != 0 {
		t.Errorf("after %d bytes came %q, %v; %d are counted as dropped", taken, got[:n], err, o.dropped.Load())
	}
}

// TestOutputStalled holds that a reader that does not read holds up the guest, but not the end.
func TestOutputStalled(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, end := context.WithCancelCause(t.Context())
	o, err := newOutput(ctx, w, end)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Write(make([]byte, 1<<20)) // more than any pipe holds
	}()
	select {
	case <-done:
		t.Fatal("a pipe took a megabyte")
	case <-time.After(10 * time.Millisecond):
	}
	end(errEscape)
	<-done
}

func TestRunStatus(t *testing.T) {
	host := errors.New("host")
	for _, tt := range []struct {
		outcome machine.Outcome
		err     error
		want    int
	}{
		{machine.Outcome{Reason: machine.PowerOff}, nil, 0},
		{machine.Outcome{Reason: machine.Reset}, nil, 0},
		{machine.Outcome{Reason: machine.DebugExit, Code: 0}, nil, 1},
		{machine.Outcome{Reason: machine.DebugExit, Code: 0x10}, nil, 33},
		{machine.Outcome{Reason: machine.DebugExit, Code: 0xff}, nil, 255},
		{machine.Outcome{}, errEscape, 0},
		{machine.Outcome{}, &machine.CrashError{}, 2},
		{machine.Outcome{}, &signalError{syscall.SIGINT}, 130},
		{machine.Outcome{}, &signalError{syscall.SIGTERM}, 143},
		{machine.Outcome{}, host, 1},
	} {
		t.Run(fmt.Sprintf("%v %v", tt.outcome.Reason, tt.err), func(t *testing.T) {
			got := 0
			err := runStatus(tt.outcome, tt.err)
			var status *statusError
			if errors.As(err, &status) {
				got = status.code
			} else if err != nil {
				got = statusUsage
			}
			if got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}
