package blk

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// newTransport puts a device behind the MMIO transport.
func newTransport(t testing.TB, device virtio.Device) (*virtiotest.MMIODriver, *virtiommio.Transport) {
	t.Helper()
	mem, irq := virtiotest.NewMemory(0, 1<<20), virtiotest.NewIRQ()
	transport, err := virtiommio.New(virtiommio.Config{Device: device, Memory: mem, IRQ: irq})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return virtiotest.NewDriver(t, transport, mem, irq), transport
}

func newDriver(t testing.TB, device virtio.Device) *virtiotest.MMIODriver {
	t.Helper()
	driver, _ := newTransport(t, device)
	return driver
}

// start runs a device behind the MMIO transport.
func start(t testing.TB, device virtio.Device) *virtiotest.MMIODriver {
	t.Helper()
	driver := newDriver(t, device)
	driver.Start(^uint64(0), 64)
	return driver
}

// add makes a request without payload available and returns the address of
// its status.
func add(d *virtiotest.MMIODriver, kind uint32) uint64 { return addTo(d, 0, kind) }

func addTo(d *virtiotest.MMIODriver, queue int, kind uint32) uint64 {
	bufs := readRequest(d.Mem, 0)
	binary.LittleEndian.PutUint32(d.Mem.Bytes(bufs[0].Addr, 4), kind)
	switch kind {
	case typeOut:
		bufs[1].Write = false
	case typeFlush:
		bufs = append(bufs[:1], bufs[2])
	}
	d.Rings[queue].Add(bufs...)
	d.Kick(queue)
	return bufs[len(bufs)-1].Addr
}

func TestRequestsRunConcurrentlyUpToTheBound(t *testing.T) {
	const workers = 4
	entered, release := make(chan string, 64), make(chan struct{})
	d := newDisk(4)
	d.before = func(op string) error {
		entered <- op
		<-release
		return nil
	}
	driver := start(t, newDevice(t, Config{Backend: d, Workers: workers}))
	for range 3 * workers {
		add(driver, typeIn)
	}
	for range workers {
		<-entered // all of them are in the disk at once
	}
	select {
	case <-entered:
		t.Error("more requests at once than workers")
	default:
	}
	close(release)
	for range 3 * workers {
		driver.Await(0)
	}
}

// TestFlushCompletesAfterSync holds a flush up and has a read overtake it: the
// flush completes only when the disk's Sync has returned, and it covers the
// write that completed before.
func TestFlushCompletesAfterSync(t *testing.T) {
	release := make(chan struct{})
	d := newDisk(4)
	d.before = func(op string) error {
		if op == "sync" {
			<-release
		}
		return nil
	}
	driver := start(t, newDevice(t, Config{Backend: d}))
	add(driver, typeOut)
	write := driver.Await(0)
	flush := add(driver, typeFlush)
	add(driver, typeIn)
	if u := driver.Await(0); u.Len != sectorSize+1 {
		t.Errorf("first to complete is %+v, not the read; write was %+v", u, write)
	}
	if _, ok := driver.Rings[0].Reap(); ok {
		t.Error("the flush completed before the disk was in sync")
	}
	close(release)
	driver.Await(0)
	if s := driver.Mem.Bytes(flush, 1)[0]; s != 0 {
		t.Errorf("flush: status %d", s)
	}
	if got := strings.Join(d.log, " "); got != "write read sync" {
		t.Errorf("the disk did %q", got)
	}
}

// TestResetWaitsForTheHost checks the promise of virtio.Device.Run.
func TestResetWaitsForTheHost(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	d := newDisk(4)
	d.before = func(string) error {
		close(entered)
		<-release
		return nil
	}
	driver := start(t, newDevice(t, Config{Backend: d}))
	add(driver, typeIn)
	<-entered
	reset := make(chan struct{})
	go func() {
		driver.Write32(virtiotest.RegStatus, 0)
		close(reset)
	}()
	select {
	case <-reset:
		t.Error("reset did not wait for the read in flight")
	default:
	}
	close(release)
	<-reset
	if s := driver.Status(); s != 0 {
		t.Errorf("status %#x after reset", s)
	}
}

func TestBrokenRingEndsAllWorkers(t *testing.T) {
	driver := start(t, newDevice(t, Config{Backend: newDisk(4), Workers: 4}))
	for range 8 {
		add(driver, typeIn)
	}
	for range 8 {
		driver.Await(0)
	}
	driver.Rings[0].SetAvailIdx(9999)
	driver.Notify(0)
	driver.AwaitNeedsReset()
}

func TestRunReturnsTheCause(t *testing.T) {
	b := newBench(t, newDisk(4), Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	session := &virtio.Session{Features: b.features, Queues: []*virtio.Queue{b.queue}, Memory: b.mem}
	if err := b.device.Run(ctx, session); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	b.ring.SetAvailIdx(1000)
	if err := b.device.Run(t.Context(), session); !errors.Is(err, virtio.ErrBroken) {
		t.Errorf("Run: %v", err)
	}
}
