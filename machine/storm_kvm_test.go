//go:build kvmtest

package machine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// interruptStorm has the serial port raise and drop its interrupt as fast as it can: mov dx, 0x3fc; mov al, 8 (OUT2); out dx, al; mov dl, 0xf9; and
// over and over: mov al, 2 (the transmitter's); out dx, al; mov al, 0; out dx, al; jmp
var interruptStorm = slices.Concat([]byte{0x66, 0xba, 0xfc, 0x03, 0xb0, 8, 0xee, 0xb2, 0xf9}, []byte{0xb0, 2, 0xee, 0xb0, 0, 0xee, 0xeb, 0xf8})

// TestInterruptStorm holds that a guest which does nothing but have a device interrupt it costs the monitor no memory, and ends promptly.
func TestInterruptStorm(t *testing.T) {
	storm(t, 10*time.Millisecond) // what the first one leaves is the runtime's
	before := weigh(t)
	n := storm(t, time.Second)
	before.check(t)
	if n < 100 {
		t.Errorf("the serial port interrupted %d times", n)
	}
	t.Logf("%d interrupts in a second", n)
}

// storm runs the guest for a time and gives the number of interrupts.
func storm(t *testing.T, d time.Duration) (interrupts int) {
	t.Helper()
	m := newMachine(t, Config{Image: image(interruptStorm), Trace: newRecorder(t, 1, 1<<16)})
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	started := time.Now()
	_, err := m.Run(ctx)
	if took := time.Since(started); !errors.Is(err, context.DeadlineExceeded) || took > d+promptly {
		t.Errorf("%v after %v", err, took)
	}
	for _, e := range events(t, m) {
		if e.Category == "interrupt" && e.Device == "serial" {
			interrupts++
		}
	}
	return interrupts
}
