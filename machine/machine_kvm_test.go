//go:build kvmtest

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"govmm/bootimage"
)

// Guests of hand-written 64-bit code, at guestAddr with the first 4 GiB mapped to themselves.
const guestAddr = 0x10_0000

var (
	// jmp $
	spin = []byte{0xeb, 0xfe}

	// cli; hlt; jmp to hlt
	halt = []byte{0xfa, 0xf4, 0xeb, 0xfd}

	// mov dx, 0x604; mov ax, 5<<10 | 1<<13; out dx, ax; hlt
	powerOff = []byte{0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef, 0xf4}
)

// debugExitFrom is code that ends in eax, followed by: out 0xf4, eax; hlt
func debugExitFrom(code ...byte) []byte { return append(code, 0xe7, 0xf4, 0xf4) }

func image(code []byte) *bootimage.Plan {
	return &bootimage.Plan{
		Segments: []bootimage.Segment{{Name: "guest", Addr: guestAddr, Data: code, Size: uint64(len(code))}},
		Entry:    bootimage.Entry{Mode: bootimage.Linux64, PC: guestAddr},
	}
}

func newMachine(t *testing.T, cfg Config) *Machine {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatalf("%v (make test-kvm runs this test where there is a KVM)", err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// run runs the machine to its own end.
func run(t *testing.T, cfg Config) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o, err := newMachine(t, cfg).Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAccesses(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
		want uint32
	}{
		// mov ebx, 0xd0000000; mov eax, [rbx]
		{"unmapped MMIO", []byte{0xbb, 0, 0, 0, 0xd0, 0x8b, 0x03}, 0xffff_ffff},
		// mov dx, 0xcfc; in eax, dx
		{"unmapped port", []byte{0x66, 0xba, 0xfc, 0x0c, 0xed}, 0xffff_ffff},
		// mov eax, 0x12345678; mov [0x200000], eax; xor eax, eax; mov eax, [0x200000]
		{"RAM", []byte{0xb8, 0x78, 0x56, 0x34, 0x12, 0x89, 0x04, 0x25, 0, 0, 0x20, 0, 0x31, 0xc0, 0x8b, 0x04, 0x25, 0, 0, 0x20, 0}, 0x1234_5678},
		// mov al, 0x0d; out 0x70, al; xor eax, eax; in al, 0x71
		{"clock's status D", []byte{0xb0, 0x0d, 0xe6, 0x70, 0x31, 0xc0, 0xe4, 0x71}, 0x80},
		// mov dx, 0x604; xor eax, eax; in ax, dx
		{"SCI_EN", []byte{0x66, 0xba, 0x04, 0x06, 0x31, 0xc0, 0x66, 0xed}, 1},
		// the ACPI root pointer: mov eax, [0xe0000], "RSD "
		{"RSDP", []byte{0x8b, 0x04, 0x25, 0, 0, 0x0e, 0}, 0x2044_5352},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := run(t, Config{Image: image(debugExitFrom(tt.code...)), DebugExit: true})
			if want := (Outcome{DebugExit, tt.want}); o != want {
				t.Errorf("%+v, want %+v", o, want)
			}
		})
	}
}

// TestStringOutput writes the console by one instruction:
// mov esi, text; mov ecx, len; mov dx, 0x3f8; rep outsb
func TestStringOutput(t *testing.T) {
	const text = "a string of bytes, \x00 and \xff among them\n"
	code := []byte{0xbe, 0, 0x01, 0x10, 0, 0xb9, byte(len(text)), 0, 0, 0, 0x66, 0xba, 0xf8, 0x03, 0xf3, 0x6e}
	code = append(code, powerOff...)
	code = append(code, make([]byte, 0x100-len(code))...)
	var console bytes.Buffer
	o := run(t, Config{Image: image(append(code, text...)), Console: &console})
	if o.Reason != PowerOff || console.String() != text {
		t.Errorf("%v, console %q", o.Reason, console.String())
	}
}

func TestSizes(t *testing.T) {
	for _, cfg := range []Config{{CPUs: 1}, {CPUs: 2}, {CPUs: 16}, {Memory: MinMemory}, {Memory: 6 << 30}} {
		t.Run(fmt.Sprintf("%d CPUs, %d MiB", cfg.cpus(), cfg.memory()>>20), func(t *testing.T) {
			cfg.Image = image(powerOff)
			if o := run(t, cfg); o.Reason != PowerOff {
				t.Errorf("%v", o.Reason)
			}
		})
	}
}

func TestTripleFault(t *testing.T) {
	m := newMachine(t, Config{Image: image([]byte{0x0f, 0x0b})}) // ud2 without an IDT
	_, err := m.Run(t.Context())
	var crash *CrashError
	if !errors.As(err, &crash) || crash.CPU != 0 || crash.Reason != "triple fault" {
		t.Errorf("%v", err)
	}
}

// TestCancel holds that a guest that never exits, and one that sleeps, end promptly. The bound is for
// the quickest of several, because what else the host does is not ours.
func TestCancel(t *testing.T) {
	cause := errors.New("enough")
	for name, code := range map[string][]byte{"spins": spin, "sleeps": halt} {
		t.Run(name, func(t *testing.T) {
			var took []time.Duration
			for range 5 {
				m := newMachine(t, Config{Image: image(code), CPUs: 2})
				ctx, cancel := context.WithCancelCause(t.Context())
				var at time.Time
				time.AfterFunc(50*time.Millisecond, func() { at = time.Now(); cancel(cause) })
				if _, err := m.Run(ctx); !errors.Is(err, cause) {
					t.Fatalf("%v", err)
				}
				took = append(took, time.Since(at))
			}
			if best := slices.Min(took); best > 100*time.Millisecond {
				t.Errorf("the quickest of %v took more than 100 ms", took)
			}
		})
	}
}

// TestGarbageCollection collects while a guest spins on every vCPU that there is.
func TestGarbageCollection(t *testing.T) {
	m := newMachine(t, Config{Image: image(spin)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	for range 50 {
		runtime.GC()
	}
	cancel()
	<-done
}

func TestLifecycle(t *testing.T) {
	m := newMachine(t, Config{Image: image(powerOff)})
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(t.Context()); err == nil {
		t.Error("a machine ran twice")
	}
	closed := newMachine(t, Config{Image: image(powerOff), CPUs: 2})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := closed.Run(t.Context()); err == nil {
		t.Error("a closed machine ran")
	}
}

// TestConsoleEnds holds that input which the guest does not take is waited for no longer than the run, or the machine that never ran.
func TestConsoleEnds(t *testing.T) {
	for name, end := range map[string]func(m *Machine){
		"run":     func(m *Machine) { m.Run(t.Context()) },
		"machine": func(m *Machine) { m.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, Config{Image: image(powerOff)})
			before := runtime.NumGoroutine()
			written := make(chan error, 1)
			go func() {
				_, err := m.WriteConsole(t.Context(), make([]byte, 1000))
				written <- err
			}()
			end(m)
			if err := <-written; !errors.Is(err, ErrEnded) {
				t.Errorf("%v", err)
			}
			for range 1000 { // until the writer is gone, which another test would count
				if runtime.NumGoroutine() <= before {
					break
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// TestNothingLeft holds that a machine that ended, one that was never run and one that could not
// be made leave no goroutine, descriptor or mapping of a vCPU.
func TestNothingLeft(t *testing.T) {
	before := hold(t)
	for range 5 {
		ran, err := New(Config{Image: image(powerOff), CPUs: 2})
		if err != nil {
			t.Fatal(err)
		}
		ran.Run(t.Context())
		ran.Close()
		unused, err := New(Config{Image: image(powerOff), CPUs: 2})
		if err != nil {
			t.Fatal(err)
		}
		unused.Close()
		if _, err := New(Config{Kernel: []byte("no kernel")}); err == nil {
			t.Fatal("text was taken for a kernel")
		}
	}
	checkHoldings(t, before)
}
