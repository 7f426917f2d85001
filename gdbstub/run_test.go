package gdbstub

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestStops(t *testing.T) {
	for want, stop := range map[string]Stop{
		"T05thread:2;swbreak:;":   {CPU: 1, Reason: AtSoftware},
		"T05thread:1;hwbreak:;":   {Reason: AtHardware},
		"T05thread:1;watch:1008;": {Reason: AfterWrite, Addr: 0x1008},
		"T05thread:2;awatch:10;":  {CPU: 1, Reason: AfterAccess, Addr: 0x10},
		"T05thread:1;":            {Reason: Stepped},
	} {
		f := newFake()
		p := connect(t, f)
		f.stops <- stop
		p.want("vCont;c", want)
		p.want("?", want)
		p.want("qC", map[int]string{0: "QC1", 1: "QC2"}[stop.CPU])
	}
}

func TestActions(t *testing.T) {
	for packet, want := range map[string][]Action{
		"vCont;c":           {Run, Run},
		"vCont;C05":         {Run, Run},
		"vCont;s:2;c":       {Run, Step},
		"vCont;s:1":         {Step, Stay}, // as gdb steps over a breakpoint
		"vCont;S05:1;c:2":   {Step, Run},
		"vCont;c:1;s:1;c:2": {Run, Run}, // the first counts
		"vCont;s":           {Step, Step},
		"vCont;c:-1":        {Run, Run},
		"c":                 {Run, Run},
		"C05":               {Run, Run},
		"s":                 {Step, Run},
	} {
		f := newFake()
		p := connect(t, f)
		f.stops <- Stop{Reason: Stepped}
		p.want(packet, "T05thread:1;")
		if len(f.resumed) != 1 || !slices.Equal(f.resumed[0], want) {
			t.Errorf("%s: %v, want %v", packet, f.resumed, want)
		}
	}
	p := connect(t, newFake())
	for packet, want := range map[string]string{
		"vCont;": "E16", "vCont;x": "E16", "vCont;c:9": "E02", "vCont;r1:1": "E16", "vCont;;": "E16", "c1000": "E16", "vCont": "E16", "vCont;c:z": "E16",
	} {
		p.want(packet, want)
	}
}

// TestHc has the packets of debuggers that do not know vCont.
func TestHc(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	p.want("Hc2", "OK")
	f.stops <- Stop{CPU: 1, Reason: Stepped}
	p.want("s", "T05thread:2;")
	if !slices.Equal(f.resumed[0], []Action{Stay, Step}) {
		t.Errorf("%v", f.resumed)
	}
	p.want("Hc0", "OK") // as gdb sends before all go on
	f.stops <- Stop{Reason: Stepped}
	p.want("c", "T05thread:1;")
	if !slices.Equal(f.resumed[1], []Action{Run, Run}) {
		t.Errorf("%v", f.resumed)
	}
}

// TestRange steps within a range until it is left.
func TestRange(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	for _, pc := range []uint64{0x1002, 0x1004, 0x1010} {
		f.stops <- Stop{Reason: Stepped, PC: pc}
	}
	p.want("vCont;r1000,1010:1;c", "T05thread:1;")
	if len(f.resumed) != 3 || !slices.Equal(f.resumed[2], []Action{Step, Run}) {
		t.Errorf("%v", f.resumed)
	}
	f.stops <- Stop{CPU: 1, Reason: Stepped, PC: 0x1004} // another processor's
	p.want("vCont;r1000,1010:1;c", "T05thread:2;")
	f.stops <- Stop{Reason: AtSoftware, PC: 0x1004}
	p.want("vCont;r1000,1010:1;c", "T05thread:1;swbreak:;")
}

func TestInterrupt(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	p.write("$vCont;c#a8")
	p.read("+")
	p.write("\x03")
	if got := p.answer(); got != "T02thread:1;" || f.paused != 2 {
		t.Errorf("%q, paused %d times", got, f.paused)
	}
}

// TestInterruptInRange interrupts steps within a range that would never leave it.
func TestInterruptInRange(t *testing.T) {
	m := &looping{fake: newFake()}
	p := connect(t, m)
	p.write("$vCont;r1000,1010:1#d1")
	p.read("+")
	p.write("\x03")
	if got := p.answer(); got != "T02thread:1;" {
		t.Errorf("%q", got)
	}
	p.want("qC", "QC1")
}

// looping is a machine that has made each step by the time that it is paused.
type looping struct{ *fake }

func (l *looping) Wait(ctx context.Context) (Stop, error) {
	<-ctx.Done()
	return Stop{Reason: Stepped, PC: 0x1004}, nil
}

// TestInterruptWhileStill holds that an interrupt counts when the machine goes on, as one does that comes together with a breakpoint.
func TestInterruptWhileStill(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	p.write("\x03")
	p.want("?", "T02thread:1;")
	p.want("vCont;c", "T02thread:1;")
	if len(f.resumed) != 0 {
		t.Errorf("it has gone on: %v", f.resumed)
	}
	f.stops <- Stop{CPU: 1, Reason: AtSoftware}
	p.want("vCont;c", "T05thread:2;swbreak:;")
}

// TestPauseFails holds that nobody waits for the machine any more when it is let go, although it could not be interrupted.
func TestPauseFails(t *testing.T) {
	u := &unpausable{fake: newFake()}
	p := connect(t, u)
	p.write("$vCont;c#a8")
	p.read("+")
	p.write("\x03")
	if err := p.end(); !errors.Is(err, errUnpausable) || u.early.Load() {
		t.Errorf("%v, let go while somebody waited: %v", err, u.early.Load())
	}
}

var errUnpausable = errors.New("it does not stand still")

// unpausable is a machine that cannot be paused a second time, and of which one who waits needs time to leave.
type unpausable struct {
	*fake
	waiting, early atomic.Bool
}

func (u *unpausable) Pause(ctx context.Context) error {
	if u.paused > 0 {
		return errUnpausable
	}
	return u.fake.Pause(ctx)
}

func (u *unpausable) Resume(a []Action) error { u.waiting.Store(true); return u.fake.Resume(a) }

func (u *unpausable) Wait(ctx context.Context) (Stop, error) {
	defer u.waiting.Store(false)
	<-ctx.Done()
	time.Sleep(10 * time.Millisecond)
	return Stop{}, context.Cause(ctx)
}

func (u *unpausable) Detach() error { u.early.Store(u.waiting.Load()); return u.fake.Detach() }

func TestEndWhileRunning(t *testing.T) {
	for want, end := range map[string]EndError{"W00": {}, "W07": {Code: 7}, "X0f": {Signal: 15}} {
		f := newFake()
		f.endErr = &end
		p := connect(t, f)
		p.write("$vCont;c#a8")
		p.read("+")
		close(f.end)
		if got := p.answer(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		var got *EndError
		if err := p.end(); !errors.As(err, &got) || *got != end {
			t.Errorf("%v", err)
		}
	}
}

// TestGoneWhileRunning holds that a debugger that vanishes, or does not wait, leaves a machine that runs.
func TestGoneWhileRunning(t *testing.T) {
	for name, do := range map[string]func(*peer){
		"gone":  func(p *peer) { p.conn.Close() },
		"eager": func(p *peer) { p.write("$?#3f") },
		"junk":  func(p *peer) { _, _ = p.conn.Write(make([]byte, 2*maxJunk)) },
	} {
		f := newFake()
		p := connect(t, f)
		p.want("Z0,1000,1", "OK")
		p.write("$vCont;c#a8")
		p.read("+")
		go func() { _, _ = io.Copy(io.Discard, p.r) }()
		do(p)
		if err := <-p.err; err == nil || f.detached != 1 || len(f.breaks) != 0 {
			t.Errorf("%s: %v, detached %d times, breakpoints %v", name, err, f.detached, f.breaks)
		}
	}
}
