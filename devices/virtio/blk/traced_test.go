package blk

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// TestRequestsAreTraced holds that a tracer hears of each request what it was, before the driver hears that it is done.
func TestRequestsAreTraced(t *testing.T) {
	d := newDisk(64)
	tracer := new(virtiotest.Tracer)
	mem, irq := virtiotest.NewMemory(0, 1<<20), virtiotest.NewIRQ()
	transport, err := virtiommio.New(virtiommio.Config{Device: newDevice(t, Config{Backend: d}), Memory: mem, IRQ: irq, Tracer: tracer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	driver := virtiotest.NewDriver(t, transport, mem, irq)
	driver.Start(^uint64(0), 64)

	const header, payload, answer = 0x8000, 0x9000, 0xa000
	request := func(kind uint32, sector uint64, n uint32, write bool) {
		le := binary.LittleEndian
		le.PutUint32(mem.Bytes(header, 4), kind)
		le.PutUint64(mem.Bytes(header+8, 8), sector)
		bufs := []virtiotest.Buf{{Addr: header, Len: headerSize}, {Addr: payload, Len: n, Write: write}, {Addr: answer, Len: 1, Write: true}}
		if n == 0 {
			bufs = slices.Delete(bufs, 1, 2)
		}
		driver.Rings[0].Add(bufs...)
		driver.Kick(0)
		driver.Await(0)
	}
	request(typeIn, 3, 1024, true)
	request(typeOut, 5, 512, false)
	request(typeFlush, 0, 0, false)
	request(typeGetID, 0, maxIDSize, true)
	copy(mem.Bytes(payload, segmentSize), segment(8, 16, 0))
	request(typeDiscard, 0, segmentSize, false)
	request(99, 0, 0, false)
	request(typeIn, 1000, 512, true)
	d.before = func(string) error { return errors.New("broken") }
	request(typeIn, 1, 512, true)

	want := []virtio.Request{
		{Operation: virtio.Read, Offset: 3 * 512, Bytes: 1024},
		{Operation: virtio.Write, Offset: 5 * 512, Bytes: 512},
		{Operation: virtio.Flush},
		{Operation: virtio.Identify},
		{Operation: virtio.Discard, Offset: 8 * 512, Bytes: 16 * 512},
		{Operation: virtio.OtherOperation, Status: uint8(statusUnsupported)},
		{Operation: virtio.Read, Offset: 1000 * 512, Bytes: 512, Status: uint8(statusIOError)},
		{Operation: virtio.Read, Offset: 512, Bytes: 512, Status: uint8(statusIOError)},
	}
	got := tracer.Requests()
	for i := range got {
		if got[i].Begun == 0 {
			t.Errorf("%+v did not begin", got[i])
		}
		got[i].Begun = 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("told of %+v\nwant    %+v", got, want)
	}
}
