package eventfd

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"govmm/devices"
)

var _ devices.IRQ = (*Event)(nil)

func open(t testing.TB) *Event {
	t.Helper()
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return e
}

func signal(t testing.TB, e *Event) {
	t.Helper()
	if err := e.Signal(); err != nil {
		t.Fatal(err)
	}
}

func await(t testing.TB, e *Event) {
	t.Helper()
	if err := e.Wait(); err != nil {
		t.Fatal(err)
	}
}

// count empties the counter without the Event's doing.
func count(t *testing.T, e *Event) uint64 {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(e.FD()), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); err != nil {
		t.Fatal(err)
	} else if n == 0 {
		return 0
	}
	var b [8]byte
	if _, err := unix.Read(e.FD(), b[:]); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(b[:])
}

func TestSignalAddsOne(t *testing.T) {
	e := open(t)
	signal(t, e)
	if err := e.Trigger(); err != nil {
		t.Fatal(err)
	}
	if got := count(t, e); got != 2 {
		t.Errorf("counter is %d after two signals", got)
	}
}

func TestWaitResets(t *testing.T) {
	e := open(t)
	signal(t, e)
	signal(t, e)
	await(t, e)
	if got := count(t, e); got != 0 {
		t.Errorf("Wait left %d in the counter", got)
	}
}

func TestWaitWakes(t *testing.T) {
	ping, pong := open(t), open(t)
	go func() {
		for ping.Wait() == nil {
			pong.Signal()
		}
	}()
	for range 100 {
		signal(t, ping)
		await(t, pong)
	}
}

func TestDescriptorFlags(t *testing.T) {
	e := open(t)
	fd, err := unix.FcntlInt(uintptr(e.FD()), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fd&unix.FD_CLOEXEC == 0 {
		t.Error("the descriptor survives exec")
	}
}

func TestClose(t *testing.T) {
	e := open(t)
	fd := e.FD()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != syscall.EBADF {
		t.Errorf("the descriptor is still open: %v", err)
	}
	for name, err := range map[string]error{
		"Signal": e.Signal(), "Trigger": e.Trigger(), "Wait": e.Wait(), "Close": e.Close(),
	} {
		if err != os.ErrClosed {
			t.Errorf("%s after Close: %v, want os.ErrClosed", name, err)
		}
	}
	if got := e.FD(); got != -1 {
		t.Errorf("FD after Close = %d, want -1", got)
	}
}

func TestCloseWakesWait(t *testing.T) {
	e := open(t)
	done := make(chan error)
	go func() { done <- e.Wait() }()
	runtime.Gosched() // in either order
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != os.ErrClosed {
		t.Errorf("Wait = %v, want os.ErrClosed", err)
	}
}

// TestContext is the example in Wait's comment.
func TestContext(t *testing.T) {
	e := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	stop := context.AfterFunc(ctx, func() { e.Signal() })
	defer stop()
	done := make(chan error)
	go func() {
		for ctx.Err() == nil {
			if err := e.Wait(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestConcurrent is for the race detector, and for descriptors closed under a
// Signal: those would be signalled into a stranger's file.
func TestConcurrent(t *testing.T) {
	for range 20 {
		e := open(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					e.FD()
					if err := e.Signal(); err != nil {
						if err != os.ErrClosed {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		wg.Go(func() {
			for range 10 {
				if e.Wait() != nil {
					return
				}
			}
			e.Close()
		})
		runtime.Gosched()
		e.Close()
		wg.Wait()
	}
}

func TestDoesNotAllocate(t *testing.T) {
	e := open(t)
	if n := testing.AllocsPerRun(100, func() {
		e.Signal()
		e.Trigger()
		e.Wait()
		e.FD()
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

func BenchmarkSignal(b *testing.B) {
	e := open(b)
	for b.Loop() {
		e.Signal()
	}
}
