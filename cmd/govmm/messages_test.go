package main

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullPipe gives the end for writing of a pipe that has no room, and that nobody reads.
func fullPipe(t testing.TB) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	fillPipe(t, w)
	return w
}

// fillPipe takes all the room that a pipe has.
func fillPipe(t testing.TB, w *os.File) {
	t.Helper()
	fd := openAgain(w)
	if fd < 0 {
		t.Fatal("the pipe cannot be opened again")
	}
	defer unix.Close(fd)
	for p := make([]byte, 4096); len(p) > 0; {
		if _, err := unix.Write(fd, p); err != nil {
			p = p[:len(p)/2] // the last pages may be full in part
		}
	}
}

// TestErrorUnread has the error of a run that does not start go where nobody reads it: the exit status comes all the same.
func TestErrorUnread(t *testing.T) {
	c := command(t, "boot", "nothing")
	c.Stderr = fullPipe(t)
	if got := exitStatus(t, c.Run()); got != statusUsage {
		t.Errorf("exit status %d, want %d", got, statusUsage)
	}
}

// TestPatience holds that what nobody reads is waited for while a run goes on, and else for a while in all.
func TestPatience(t *testing.T) {
	const patience = 50 * time.Millisecond
	o := openOutput(fullPipe(t), patience)
	defer o.close()
	write := func() chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 1000 {
				o.Write([]byte("line\n"))
			}
		}()
		return done
	}
	began := time.Now()
	<-write()
	if took := time.Since(began); took < patience {
		t.Errorf("it gave up after %v", took)
	}
	ctx, end := context.WithCancel(t.Context())
	if err := o.during(ctx); err != nil {
		t.Fatal(err)
	}
	done := write()
	select {
	case <-done:
		t.Fatal("what a run says was thrown away")
	case <-time.After(2 * patience):
	}
	end()
	<-done
}
