//go:build kvmtest

package machine

import (
	"context"
	"errors"
	"testing"
	"time"

	"govmm/kvm"
)

// counting counts in [0x200000]: mov edi, 0x200000; inc dword [rdi]; jmp to the inc
var counting = []byte{0xbf, 0, 0, 0x20, 0, 0xff, 0x07, 0xeb, 0xfc}

// background runs the machine; the function that it gives waits for the end.
func background(t *testing.T, m *Machine) (wait func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := m.Run(ctx)
		done <- err
	}()
	stopped := false
	wait = func() error {
		cancel()
		stopped = true
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			_ = wait()
		}
	})
	return wait
}

func counter(t *testing.T, m *Machine) byte {
	t.Helper()
	b := make([]byte, 1)
	if _, err := m.Memory().ReadAt(b, 0x20_0000); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// awaitChange waits until the guest has counted.
func awaitChange(t *testing.T, m *Machine) {
	t.Helper()
	for from := counter(t, m); counter(t, m) == from; time.Sleep(time.Millisecond) {
		if t.Context().Err() != nil {
			t.Fatal("the guest does not count")
		}
	}
}

func TestPause(t *testing.T) {
	m := newMachine(t, Config{Image: image(counting), CPUs: 2})
	m.Hold() // before its first instruction
	wait := background(t, m)
	if err := m.WaitStill(t.Context()); err != nil {
		t.Fatal(err)
	}
	rip := func() (rip uint64) {
		t.Helper()
		if err := m.OnVCPU(0, func(v *kvm.VCPU) error {
			regs, err := v.Regs()
			rip = regs.RIP
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return rip
	}
	if got := rip(); got != guestAddr {
		t.Errorf("the guest is at %#x before its first instruction at %#x", got, guestAddr)
	}
	for range 20 {
		if err := m.Release(); err != nil {
			t.Fatal(err)
		}
		awaitChange(t, m)
		if err := m.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := counter(t, m)
		time.Sleep(time.Millisecond)
		if got := counter(t, m); got != before {
			t.Errorf("it counts from %d to %d while it stands still", before, got)
		}
		if got := rip(); got != guestAddr+5 && got != guestAddr+7 {
			t.Errorf("it stands still at %#x", got)
		}
	}
	// Only the second, which waits for its start: the first stays.
	if err := m.Release(1); err != nil {
		t.Fatal(err)
	}
	before := counter(t, m)
	if err := m.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := counter(t, m); got != before {
		t.Errorf("it counts from %d to %d although only the other was released", before, got)
	}
	if err := wait(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := m.Pause(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("Pause after the end: %v", err)
	}
	if err := m.OnVCPU(0, func(*kvm.VCPU) error { return nil }); !errors.Is(err, ErrEnded) {
		t.Errorf("OnVCPU after the end: %v", err)
	}
}

// TestPauseCompletesAccess pauses a guest that does nothing but read a port: its registers are those of an instruction's end, with the answer.
func TestPauseCompletesAccess(t *testing.T) {
	// mov dx, 0xcfc; in eax, dx; inc eax; jmp to the in: an unmapped port reads as all ones, so eax is that or 0
	m := newMachine(t, Config{Image: image([]byte{0x66, 0xba, 0xfc, 0x0c, 0xed, 0xff, 0xc0, 0xeb, 0xfb})})
	wait := background(t, m)
	for range 50 {
		if err := m.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		var regs kvm.Regs
		if err := m.OnVCPU(0, func(v *kvm.VCPU) (err error) { regs, err = v.Regs(); return err }); err != nil {
			t.Fatal(err)
		}
		if want := map[uint64]uint64{guestAddr + 5: 0xffff_ffff, guestAddr + 7: 0}; regs.RIP > guestAddr+4 && regs.RAX != want[regs.RIP] {
			t.Errorf("RIP %#x, RAX %#x", regs.RIP, regs.RAX)
		}
		if err := m.Release(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	_ = wait()
}

// TestPauseGivesUp holds that nobody waits for ever.
func TestPauseGivesUp(t *testing.T) {
	m := newMachine(t, Config{Image: image(spin)})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := m.Pause(ctx); !errors.Is(err, context.Canceled) { // it does not run, so it cannot stand still
		t.Errorf("%v", err)
	}
	if err := m.OnVCPU(0, func(*kvm.VCPU) error { return nil }); !errors.Is(err, ErrRunning) {
		t.Errorf("OnVCPU of a vCPU that does not stand still: %v", err)
	}
	if err := m.OnVCPU(1, func(*kvm.VCPU) error { return nil }); err == nil {
		t.Error("OnVCPU of a vCPU that is none: no error")
	}
}

// TestPanicOnVCPU holds that a panic of what is called on a vCPU's thread ends the run, and that nobody waits for it.
func TestPanicOnVCPU(t *testing.T) {
	m := newMachine(t, Config{Image: image(spin)})
	done := make(chan error, 1)
	go func() {
		_, err := m.Run(t.Context())
		done <- err
	}()
	if err := m.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.OnVCPU(0, func(*kvm.VCPU) error { panic("a bug") }); !errors.Is(err, ErrEnded) {
		t.Errorf("OnVCPU gives %v, as if what was called had returned", err)
	}
	var bug *PanicError
	if err := <-done; !errors.As(err, &bug) {
		t.Errorf("%v", err)
	}
}

// TestDebugHook steps a guest by the hook alone, and then lets it run.
func TestDebugHook(t *testing.T) {
	var at []uint64
	m := newMachine(t, Config{Image: image(append([]byte{0x90, 0x90, 0x90}, powerOff...)), Debug: func(_ int, v *kvm.VCPU, d kvm.Debug) {
		if at = append(at, d.PC); len(at) == 3 {
			_ = v.SetGuestDebug(kvm.GuestDebug{})
		}
	}})
	m.Hold()
	done := make(chan error, 1)
	go func() {
		_, err := m.Run(t.Context())
		done <- err
	}()
	if err := m.WaitStill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.OnVCPU(0, func(v *kvm.VCPU) error {
		return v.SetGuestDebug(kvm.GuestDebug{Control: kvm.GuestDebugEnable | kvm.GuestDebugSingleStep})
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Release(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || len(at) != 3 || at[0] != guestAddr+1 || at[2] != guestAddr+3 {
		t.Errorf("%v, steps to %#x", err, at)
	}
}
