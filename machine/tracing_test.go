package machine

import (
	"testing"
	"time"

	"govmm/devices"
	"govmm/devices/virtio"
	"govmm/kvm"
	"govmm/trace"
)

// newRecorder makes a recorder that the test closes, after its machine.
func newRecorder(t *testing.T, cpus, records int) *trace.Recorder {
	t.Helper()
	r, err := trace.NewRecorder(trace.Config{CPUs: cpus, Records: records, Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// TestTracingDoesNotAllocate calls what records exits, and what devices call.
func TestTracingDoesNotAllocate(t *testing.T) {
	m := &Machine{cfg: Config{Trace: newRecorder(t, 1, 64)}, pio: devices.NewBus("PIO", 1<<16), mmio: devices.NewBus("MMIO", 0)}
	m.tracer = m.newTracer()
	v := &vcpu{m: m, ring: m.cfg.Trace.CPU(0)}
	device := m.tracer.virtio(0)
	exits := []*kvm.Exit{{Reason: kvm.ExitIO}, {Reason: kvm.ExitMMIO}, {Reason: kvm.ExitIntr}}
	if n := testing.AllocsPerRun(100, func() {
		for _, e := range exits {
			v.dispatchTraced(e)
		}
		device.Doorbell(0)
		device.Request(virtio.Request{Begun: device.Now()})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNoTracer holds that a machine without a trace has nothing between its devices and their interrupts.
func TestNoTracer(t *testing.T) {
	m := new(Machine)
	m.tracer = m.newTracer()
	irq := new(lineIRQ)
	if got := m.tracer.line(irq, "serial", serialIRQ); got != irq {
		t.Errorf("the line is a %T", got)
	}
	if m.tracer != nil || m.tracer.virtio(0) != nil {
		t.Error("there is a tracer")
	}
	if err := m.WriteTrace(nil); err == nil {
		t.Error("it was written")
	}
}
