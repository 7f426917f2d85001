package blk

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// A tryDisk is a disk that is a Trier: reads are tried with success unless wait is set.
type tryDisk struct {
	*disk
	wait func() bool
}

func (d *tryDisk) TryReadVec(segments [][]byte, off int64) (int, error) {
	if d.wait() {
		for _, s := range segments {
			for i := range s {
				s[i] = 0xff // a part of the transfer may be done
			}
		}
		return 1, ErrWouldWait
	}
	n, err := d.disk.ReadVec(segments, off)
	d.disk.log[len(d.disk.log)-1] = "try"
	return n, err
}

func (d *tryDisk) TryWriteVec(segments [][]byte, off int64) (int, error) { return 0, ErrWouldWait }

func TestConformanceWithManyQueues(t *testing.T) {
	virtiotest.TestDevice(t, func(t testing.TB) virtio.Device {
		return newDevice(t, Config{Backend: tempFile(t, 64*sectorSize), Queues: 4, Workers: 6})
	}, virtiotest.Options{Request: readRequest})
}

func TestQueuesInConfiguration(t *testing.T) {
	d := newDevice(t, Config{Backend: newDisk(1), Queues: maxQueues})
	var p [2]byte
	if d.ReadConfig(configNumQueues, p[:]); binary.LittleEndian.Uint16(p[:]) != maxQueues || len(d.QueueSizes()) != maxQueues || d.Features()&featureMQ == 0 {
		t.Errorf("num_queues is %x, there are %d, features %#x", p, len(d.QueueSizes()), d.Features())
	}
	if d := newDevice(t, Config{Backend: newDisk(1)}); d.Features()&featureMQ != 0 || len(d.QueueSizes()) != 1 {
		t.Error("a device of one queue is one of many")
	}
	for _, n := range []int{-1, maxQueues + 1} {
		if _, err := New(Config{Backend: newDisk(1), Queues: n}); err == nil {
			t.Errorf("%d queues are accepted", n)
		}
	}
}

// TestOnlyFirstQueue is a driver without VIRTIO_BLK_F_MQ, which does not know of the other queues.
func TestOnlyFirstQueue(t *testing.T) {
	d := newDriver(t, newDevice(t, Config{Backend: newDisk(4), Queues: 4}))
	d.Negotiate(virtio.FeatureVersion1)
	d.SetupQueue(0, virtiotest.NewRing(d.Mem, 16, false))
	d.AddStatus(virtio.StatusDriverOK)
	for range 20 {
		add(d, typeIn)
		d.Await(0)
	}
}

// TestQueuesShareWorkers fills one queue with requests that wait for the disk. The other one works, and the
// workers that are free go where they are needed.
func TestQueuesShareWorkers(t *testing.T) {
	const workers = 6
	entered, release := make(chan string, 64), make(chan struct{})
	d := newDisk(4)
	d.before = func(op string) error {
		if op == "read" {
			entered <- op
			<-release
		}
		return nil
	}
	driver := start(t, newDevice(t, Config{Backend: d, Queues: 2, Workers: workers}))
	for range 10 {
		add(driver, typeIn)
	}
	for range workers - 1 {
		<-entered
	}
	select {
	case <-entered:
		t.Error("one queue has all workers")
	default:
	}
	for range 10 {
		addTo(driver, 1, typeOut)
		driver.Await(1)
	}
	close(release)
	for range 10 {
		driver.Await(0)
	}
	// The other way round.
	for range 10 {
		addTo(driver, 1, typeIn)
		driver.Await(1)
	}
}

// TestTry serves what the host has in memory at once, while another request waits for the disk.
func TestTry(t *testing.T) {
	release := make(chan struct{})
	d := newDisk(4)
	d.before = func(op string) error {
		if op == "write" {
			<-release
		}
		return nil
	}
	tries := 0
	driver := start(t, newDevice(t, Config{Backend: &tryDisk{d, func() bool { tries++; return tries == 1 }}}))
	add(driver, typeOut)
	for range 3 {
		add(driver, typeIn)
		if u := driver.Await(0); u.Len != sectorSize+1 {
			t.Errorf("used %+v", u)
		}
	}
	close(release)
	driver.Await(0)
	if got := d.log; len(got) != 4 || got[0] != "read" || got[1] != "try" || got[2] != "try" || got[3] != "write" {
		t.Errorf("the disk did %q", got)
	}
}

// TestLargeRequestsAreNotTried holds that others can copy theirs meanwhile, if there is a processor for them.
func TestLargeRequestsAreNotTried(t *testing.T) {
	d := newDisk(4)
	b := newBench(t, d, Config{})
	b.device.info.MaxTry, b.device.trier = sectorSize, &tryDisk{d, func() bool { return false }}
	for size, want := range map[uint64]bool{sectorSize: true, 2 * sectorSize: false} {
		bufs := readRequest(b.mem, 0)
		bufs[1] = virtiotest.Buf{Addr: b.mem.Alloc(size, 8), Len: uint32(size), Write: true}
		b.ring.Add(bufs...)
		c, err := b.queue.Pop()
		if c == nil || err != nil {
			t.Fatal(err)
		}
		r := b.device.parse(c, b.features)
		if _, done := b.device.try(&r); done != want {
			t.Errorf("%d bytes: done is %t", size, done)
		}
		b.queue.Push(c, 0)
		b.ring.Reap()
	}
}

// TestTriedAgainFromTheBeginning holds that a part that a try has done does no harm.
func TestTriedAgainFromTheBeginning(t *testing.T) {
	d := newDisk(4)
	driver := start(t, newDevice(t, Config{Backend: &tryDisk{d, func() bool { return true }}}))
	bufs := readRequest(driver.Mem, 0)
	driver.Rings[0].Add(bufs...)
	driver.Kick(0)
	driver.Await(0)
	if got := driver.Mem.Bytes(bufs[1].Addr, 1)[0]; got != d.data[0] {
		t.Errorf("read %#x, want %#x", got, d.data[0])
	}
}

// TestLimits holds requests up that are beyond the limits, and that a pause and a reset lose none and do not wait.
func TestLimits(t *testing.T) {
	for name, cfg := range map[string]Config{"operations": {Ops: 2}, "bytes": {Bytes: 2 * sectorSize}} {
		cfg.Backend = newDisk(4)
		cfg.Queues = 2
		device := newDevice(t, cfg)
		device.ops.Rate, device.bytes.Rate = min(device.ops.Rate, 1), min(device.bytes.Rate, 1) // the next one in an hour
		device.ops.Burst, device.bytes.Burst = cfg.Ops, cfg.Bytes
		driver := start(t, device)
		for range 4 {
			add(driver, typeIn)
		}
		driver.Await(0)
		driver.Await(0)
		time.Sleep(10 * time.Millisecond)
		if _, ok := driver.Rings[0].Reap(); ok {
			t.Errorf("%s: a third request was served", name)
		}
		driver.Reset()
	}
}

// TestPauseDuringLimit pauses a device whose request waits for tokens: it is served after the pause.
func TestPauseDuringLimit(t *testing.T) {
	device := newDevice(t, Config{Backend: newDisk(4), Ops: 50})
	device.ops.Burst = 1
	driver, transport := newTransport(t, device)
	driver.Start(^uint64(0), 64)
	for range 5 {
		add(driver, typeIn)
	}
	for range 3 {
		if err := errors.Join(transport.Pause(), transport.Resume()); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		driver.Await(0)
	}
}

// TestZeroesAreCharged holds that zeroes, which the host may have to write, count as bytes.
func TestZeroesAreCharged(t *testing.T) {
	b := newBench(t, newDisk(16), Config{Bytes: 4 * sectorSize})
	for _, test := range []struct {
		kind uint32
		want bool
	}{{typeDiscard, false}, {typeFlush, false}, {typeWriteZeroes, true}} {
		b.do(test.kind, 0, segment(0, 8, 0), 0)
		if waits := b.device.bytes.Take(0, time.Now()) > 0; waits != test.want {
			t.Errorf("type %d: the next one waits is %v", test.kind, waits)
		}
	}
}

// TestOneGoroutineServesWhatNeedsNoWait holds that tries that succeed start and wake no other worker.
func TestOneGoroutineServesWhatNeedsNoWait(t *testing.T) {
	driver := start(t, newDevice(t, Config{Backend: &tryDisk{newDisk(4), func() bool { return false }}}))
	add(driver, typeIn)
	driver.Await(0)
	before := runtime.NumGoroutine()
	for range 20 {
		add(driver, typeIn)
		add(driver, typeGetID)
		driver.Await(0)
		driver.Await(0)
	}
	if n := runtime.NumGoroutine(); n > before { // those of earlier tests may end
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

func TestDefaultWorkers(t *testing.T) {
	for queues, workers := range map[int]int{1: 16, 16: 31} {
		if d := newDevice(t, Config{Backend: newDisk(1), Queues: queues}); d.workers != workers {
			t.Errorf("%d workers for %d queues, want %d", d.workers, queues, workers)
		}
	}
}
