package netif

import (
	"slices"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// TestFramesAreTraced holds that a tracer hears of frames both ways, with their lengths.
func TestFramesAreTraced(t *testing.T) {
	w := newWire(everything)
	tracer := new(virtiotest.Tracer)
	mem, irq := virtiotest.NewMemory(0x10000, 4<<20), virtiotest.NewIRQ()
	g := &guest{t: t, device: newDevice(t, Config{Backend: w}), wire: w}
	var err error
	if g.transport, err = virtiommio.New(virtiommio.Config{Device: g.device, Memory: mem, IRQ: irq, Tracer: tracer}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.transport.Close() })
	g.MMIODriver = virtiotest.NewDriver(t, g.transport, mem, irq)
	g.Start(0, 64)

	g.send(0, frame(1, 300), 1<<20)
	<-w.ports[0].sent
	buffers := g.supply(0, 1<<20, 1530)
	w.ports[0].give(frame(2, 60))
	g.receive(0, buffers)

	got := tracer.Requests()
	for i := range got {
		got[i].Begun = 0
	}
	want := []virtio.Request{
		{Queue: transmitQueue(0), Operation: virtio.Send, Bytes: 300},
		{Queue: receiveQueue(0), Operation: virtio.Receive, Bytes: 60},
	}
	if !slices.Equal(got, want) {
		t.Errorf("told of %+v\nwant    %+v", got, want)
	}
}
