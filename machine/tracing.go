package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"govmm/devices"
	"govmm/devices/pci"
	"govmm/devices/virtio"
	"govmm/kvm"
	"govmm/trace"
)

// A tracer records for Config.Trace what a machine does. A machine without has none, and then nothing here is called
// but for one comparison at each exit, doorbell and request.
type tracer struct {
	recorder *trace.Recorder
	names    []string          // of devices: what trace.Record.Device is an index of
	numbers  map[string]uint16 // of names on the buses; not changed once vCPUs run
}

// noDevice is the number of what answers accesses to nothing.
const noDevice = 0

// newTracer gives numbers to all that may be on a bus: what is there already, and virtio devices, whose BARs come and go.
func (m *Machine) newTracer() *tracer {
	if m.cfg.Trace == nil {
		return nil
	}
	t := &tracer{recorder: m.cfg.Trace, names: []string{"no device"}, numbers: make(map[string]uint16)}
	for i, d := range m.cfg.Devices {
		t.number(virtioName(i), virtioName(i)+" "+d.Type().String())
	}
	return t
}

// number gives a device its number, once.
func (t *tracer) number(busName, name string) uint16 {
	if n, ok := t.numbers[busName]; ok {
		return n
	}
	n := uint16(len(t.names))
	t.names = append(t.names, name)
	t.numbers[busName] = n
	return n
}

// platform gives numbers to what the buses have before the guest runs.
func (t *tracer) platform(buses ...*devices.Bus) {
	if t == nil {
		return
	}
	for _, b := range buses {
		for _, name := range b.Names() {
			t.number(name, name)
		}
	}
}

func virtioName(i int) string { return "virtio" + strconv.Itoa(i) }

// dispatchTraced is dispatch for a vCPU that is traced.
func (v *vcpu) dispatchTraced(exit *kvm.Exit) {
	t := v.m.tracer
	r := trace.Record{Kind: trace.Exit, Start: t.recorder.Now(), Reason: uint8(exit.Reason)}
	// What answers is looked up before it does, because it may move itself; what it has answered is there afterwards.
	var data []byte
	switch exit.Reason {
	case kvm.ExitIO:
		a := exit.IO()
		data = a.Data
		r.Addr, r.Width, r.Direction = uint64(a.Port), uint8(a.Size), direction(a.Write)
		r.Device = t.numbers[v.m.pio.Name(r.Addr, a.Size)]
	case kvm.ExitMMIO:
		a := exit.MMIO()
		data = a.Data
		r.Addr, r.Direction = a.Addr, direction(a.Write)
		r.Device = t.numbers[v.m.mmio.Name(a.Addr, len(a.Data))]
	}
	v.dispatch(exit)
	r.Size, r.Data = uint32(len(data)), firstBytes(data)
	r.Duration = t.recorder.Now() - r.Start
	v.ring.Add(&r)
}

func direction(write bool) trace.Direction {
	if write {
		return trace.Out
	}
	return trace.In
}

// firstBytes are up to 8 of p, as a little-endian number.
func firstBytes(p []byte) uint64 {
	if len(p) >= 8 {
		return binary.LittleEndian.Uint64(p)
	}
	var v uint64
	for i, b := range p {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// A tracedIRQ is an interrupt line that is traced.
type tracedIRQ struct {
	devices.IRQ
	tracer *tracer
	record trace.Record
}

// line makes an interrupt line of a device traced, if anything is.
func (t *tracer) line(irq devices.IRQ, busName string, gsi uint32) devices.IRQ {
	if t == nil {
		return irq
	}
	r := trace.Record{Kind: trace.Interrupt, Device: t.number(busName, busName), Queue: trace.NoVector, Data: uint64(gsi)}
	return &tracedIRQ{irq, t, r}
}

func (i *tracedIRQ) Trigger() error {
	r := i.record
	r.Start = i.tracer.recorder.Now()
	i.tracer.recorder.Add(&r)
	return i.IRQ.Trigger()
}

// A tracedVector is a vector of MSI-X that is traced.
type tracedVector struct {
	pci.Vector
	tracer        *tracer
	device, index uint16
	addr          atomic.Uint64
	data          atomic.Uint32
}

// vectors makes the vectors of virtio device number i traced, if anything is.
func (t *tracer) vectors(i int, vectors []pci.Vector) []pci.Vector {
	if t == nil {
		return vectors
	}
	for n, v := range vectors {
		vectors[n] = &tracedVector{Vector: v, tracer: t, device: t.numbers[virtioName(i)], index: uint16(n)}
	}
	return vectors
}

func (v *tracedVector) SetMessage(m pci.Message) error {
	v.addr.Store(m.Addr)
	v.data.Store(m.Data)
	return v.Vector.SetMessage(m)
}

func (v *tracedVector) Trigger() error {
	v.tracer.recorder.Add(&trace.Record{
		Kind: trace.Interrupt, Device: v.device, Queue: v.index, Start: v.tracer.recorder.Now(), Addr: v.addr.Load(), Data: uint64(v.data.Load()),
	})
	return v.Vector.Trigger()
}

// A deviceTracer is the virtio.Tracer of one device.
type deviceTracer struct {
	recorder *trace.Recorder
	device   uint16
}

// virtio is what virtio device number i tells what it does, nil if nobody wants to know.
func (t *tracer) virtio(i int) virtio.Tracer {
	if t == nil {
		return nil
	}
	return &deviceTracer{t.recorder, t.numbers[virtioName(i)]}
}

func (d *deviceTracer) Now() time.Duration { return d.recorder.Now() }

func (d *deviceTracer) Doorbell(queue int) {
	d.recorder.Add(&trace.Record{Kind: trace.Doorbell, Device: d.device, Queue: uint16(queue), Start: d.recorder.Now()})
}

func (d *deviceTracer) Request(r virtio.Request) {
	d.recorder.Add(&trace.Record{
		Kind: trace.Request, Device: d.device, Queue: uint16(r.Queue), Operation: uint8(r.Operation), Status: r.Status,
		Start: r.Begun, Duration: d.recorder.Now() - r.Begun, Addr: r.Offset, Size: r.Bytes,
	})
}

// WriteTrace writes what Config.Trace has recorded, with the stages of Config.Timeline, as a file of the Trace Event format. It is for
// after Run. about goes to the file as it is.
func (m *Machine) WriteTrace(w io.Writer, about ...trace.About) error {
	if m.tracer == nil {
		return errors.New("the machine records no trace")
	}
	return m.cfg.Trace.Write(w, trace.Labels{
		Title:   fmt.Sprintf("%s, %d MiB", countVCPUs(m.cfg.cpus()), m.cfg.memory()>>20),
		Devices: m.tracer.names,
		Reason:  func(r uint8) string { return kvm.ExitReason(r).String() },
		Operation: func(o uint8) string {
			return virtio.Operation(o).String()
		},
		Phases: m.phases(),
		About:  about,
	})
}

// phases are the stages that were reached, in the order of time.
func (m *Machine) phases() []trace.Phase {
	var list []trace.Phase
	for _, s := range Stages() {
		if at := m.cfg.Timeline.At(s); !at.IsZero() {
			list = append(list, trace.Phase{Stage: s.String(), At: at})
		}
	}
	// By the monotonic clock, as the durations are made: a wall clock that is set meanwhile would make one negative, which no reader takes.
	slices.SortStableFunc(list, func(a, b trace.Phase) int { return a.At.Compare(b.At) })
	return list
}

func countVCPUs(n int) string {
	if n == 1 {
		return "1 vCPU"
	}
	return fmt.Sprintf("%d vCPUs", n)
}
