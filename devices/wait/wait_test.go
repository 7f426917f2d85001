package wait

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe returns a descriptor that becomes ready with a write to the other.
func pipe(t testing.TB) (read, write int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// reserve does what a machine does.
func reserve(t testing.TB, n int) {
	before := runtime.GOMAXPROCS(0)
	Reserve(n)
	t.Cleanup(func() {
		Reserve(-n)
		if n := spare.Load(); n != 0 {
			t.Errorf("%d waiters are reserved after the test", n)
		}
		if after := runtime.GOMAXPROCS(0); after != before {
			t.Errorf("GOMAXPROCS was %d and is %d", before, after)
		}
	})
}

func waitFor(t testing.TB, fd int) <-chan error {
	done := make(chan error, 1)
	go func() {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		w := Waiter{short: keepAfter}
		err := w.Poll(fds)
		if err == nil && fds[0].Revents&unix.POLLIN == 0 {
			t.Errorf("descriptor %d has events %#x", fd, fds[0].Revents)
		}
		done <- err
	}()
	return done
}

// TestPoll has more waiters than may keep their P, stops the world while they wait, and wakes them.
func TestPoll(t *testing.T) {
	for _, n := range []int{0, 1, 4} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			reserve(t, n)
			testPoll(t, n+2)
		})
	}
}

func testPoll(t *testing.T, n int) {
	var writers []int
	var waiters []<-chan error
	for range n {
		r, w := pipe(t)
		writers = append(writers, w)
		waiters = append(waiters, waitFor(t, r))
	}
	for i := range writers {
		time.Sleep(time.Millisecond) // most wait by now
		runtime.GC()
		select {
		case err := <-waiters[i]:
			t.Fatalf("a waiter returned early: %v", err)
		default:
		}
		if _, err := unix.Write(writers[i], []byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := <-waiters[i]; err != nil {
			t.Error(err)
		}
	}
}

// TestIdleWaiterHoldsNoP holds that what waits for long leaves its P to others.
func TestIdleWaiterHoldsNoP(t *testing.T) {
	const n = 3
	reserve(t, n)
	settle()
	for range n {
		r, w := pipe(t)
		done := waitFor(t, r)
		defer func() {
			unix.Write(w, []byte{1})
			<-done
		}()
	}
	awaitSpare := func(want int64) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); spare.Load() != want; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d waiters hold a P, want %d", n-spare.Load(), n, n-want)
			}
		}
	}
	awaitSpare(0) // all keep theirs
	awaitSpare(n) // the runtime takes it after 10 ms or more
}

// TestKeepsWhenShort holds that a waiter keeps its P only after a number of short waits, and that there are no Ps for it before.
func TestKeepsWhenShort(t *testing.T) {
	reserve(t, 1)
	procs := runtime.GOMAXPROCS(0)
	r, fd := pipe(t)
	fds := []unix.PollFd{{Fd: int32(r), Events: unix.POLLIN}}
	w := Waiter{short: keepAfter - 1}
	poll := func() {
		t.Helper()
		if err := w.Poll(fds); err != nil {
			t.Fatal(err)
		}
	}
	time.AfterFunc(2*keepBelow, func() { unix.Write(fd, []byte{1}) })
	if poll(); w.short != keepAfter-1-forget {
		t.Errorf("after a wait of %v, %d are short, want %d", 2*keepBelow, w.short, keepAfter-1-forget)
	}
	for w.short < keepAfter { // ready already; a busy host may still take long
		poll()
	}
	if got := runtime.GOMAXPROCS(0); got != procs || spare.Load() != 0 {
		t.Errorf("GOMAXPROCS rose from %d to %d before anybody keeps a P", procs, got)
	}
	if poll(); runtime.GOMAXPROCS(0) != procs+1 || spare.Load() != 1 {
		t.Errorf("GOMAXPROCS is %d after a waiter kept a P, want %d", runtime.GOMAXPROCS(0), procs+1)
	}
}

// TestLongWaits holds that a long wait now and then does not end a row of short ones, and that none makes a waiter owe any.
func TestLongWaits(t *testing.T) {
	r, fd := pipe(t)
	fds := []unix.PollFd{{Fd: int32(r), Events: unix.POLLIN}}
	unix.Write(fd, []byte{1})
	for _, test := range []struct{ before, after int }{{2 * keepAfter, 2*keepAfter - forget}, {1, 0}} {
		w := Waiter{short: test.before, woken: time.Since(began) - 2*keepBelow}
		if err := w.Poll(fds); err != nil || w.short != test.after {
			t.Errorf("after a long wait %d waits are short, want %d of %d; %v", w.short, test.after, test.before, err)
		}
		if w.woken <= 0 {
			t.Error("the end of the wait is not noted")
		}
	}
	before := time.Since(began)
	w := Waiter{short: 2 * keepAfter, woken: before}
	if err := w.Poll(fds); err != nil || w.woken-before < keepBelow && w.short != 2*keepAfter { // a busy host may take longer
		t.Errorf("%d waits are short, the most is %d; %v", w.short, 2*keepAfter, err)
	}
}

func TestBadDescriptor(t *testing.T) {
	fds := make([]unix.PollFd, 1)
	fds[0].Fd = 1 << 20
	var w Waiter
	if err := w.Poll(fds); err != nil || fds[0].Revents&unix.POLLNVAL == 0 {
		t.Errorf("%v, events %#x", err, fds[0].Revents)
	}
}

func TestPollDoesNotAllocate(t *testing.T) {
	reserve(t, 1)
	r, w := pipe(t)
	unix.Write(w, []byte{1})
	fds := []unix.PollFd{{Fd: int32(r), Events: unix.POLLIN}}
	waiter := Waiter{short: keepAfter}
	settle() // AllocsPerRun has GOMAXPROCS for itself
	if n := testing.AllocsPerRun(100, func() { waiter.Poll(fds) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
