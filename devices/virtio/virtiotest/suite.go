package virtiotest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiopci"
)

// Options tell TestDevice what it cannot know about a device.
type Options struct {
	// Request returns the segments of a request that the device completes
	// without help from outside when it is put into the given queue, or nil
	// if the device uses that queue's buffers only when it has something to
	// put into them. It allocates from mem. It is required.
	Request func(mem *Memory, queue int) []Buf

	// MemorySize is the size of the fake RAM; 0 means 1 MiB.
	MemorySize uint64
}

// A suite is one device under test with what drives it.
type suite struct {
	newDevice func(testing.TB) virtio.Device
	opts      Options
	connect   connector
}

// TestDevice checks that the devices that newDevice returns behave as chapters
// 2 and 3 of the specification ask, also with a driver that breaks the rules,
// and that they keep the promises of virtio.Device: that Run returns when it
// is to, with nothing in flight and no goroutine left. newDevice is called
// several times; it registers with its testing.TB what is to be closed.
func TestDevice(t *testing.T, newDevice func(testing.TB) virtio.Device, opts Options) {
	if opts.MemorySize == 0 {
		opts.MemorySize = 1 << 20
	}
	for name, connect := range map[string]connector{"mmio": connectMMIO, "pci": connectPCI} {
		t.Run(name, func(t *testing.T) {
			s := &suite{newDevice: newDevice, opts: opts, connect: connect}
			s.run(t)
		})
	}
}

func (s *suite) run(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *instance)
	}{
		{"Description", s.description},
		{"Identification", s.identification},
		{"StatusMachine", s.statusMachine},
		{"FeatureNegotiation", s.featureNegotiation},
		{"ConfigPastEnd", s.configPastEnd},
		{"QueueSetupWrong", s.queueSetupWrong},
		{"QueueChangedAfterActivation", s.queueChangedAfterActivation},
		{"QueueDisabledWhileRunning", s.queueDisabledWhileRunning},
		{"QueuesNotEnabled", s.queuesNotEnabled},
		{"OneQueue", s.oneQueue},
		{"Requests", s.requests},
		{"ResetInFlight", s.resetInFlight},
		{"PauseInFlight", s.pauseInFlight},
		{"SaveRestore", s.saveRestore},
		{"BrokenRing", s.brokenRing},
		{"RandomRing", s.randomRing},
		{"CloseWhileRunning", s.closeWhileRunning},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, events := runtime.NumGoroutine(), openEvents(t)
			in := s.instance(t, test.name == "RandomRing")
			test.run(t, in)
			in.transport.Close()
			awaitGoroutines(t, before)
			if n := openEvents(t); n != events {
				t.Errorf("%d eventfds are open after Close, %d were before", n, events)
			}
		})
	}
}

// An instance is one device behind a transport.
type instance struct {
	*Driver
	device    virtio.Device
	transport Transport
}

// A connector puts a device behind a transport, with its driver. If from is not nil, the driver goes on
// where that one was.
type connector func(t testing.TB, device virtio.Device, mem *Memory, irq *IRQ, from *Driver) (Transport, *Driver)

func connectMMIO(t testing.TB, device virtio.Device, mem *Memory, irq *IRQ, _ *Driver) (Transport, *Driver) {
	transport, err := virtiommio.New(virtiommio.Config{Device: device, Memory: mem, IRQ: irq})
	if err != nil {
		t.Fatal(err)
	}
	return transport, NewDriver(t, transport, mem, irq).Driver
}

func connectPCI(t testing.TB, device virtio.Device, mem *Memory, irq *IRQ, from *Driver) (Transport, *Driver) {
	v := &Vectors{IRQ: irq}
	transport, err := virtiopci.New(virtiopci.Config{Name: "device", Device: device, Memory: mem, Vectors: v.Make})
	if err != nil {
		t.Fatal(err)
	}
	if from == nil {
		return transport, NewPCIDriver(t, transport, mem, v).Driver
	}
	p := newPCIDevice(t, transport, v)
	old := from.regs.(*pciDevice)
	p.multiplier, p.msix, p.structures = old.multiplier, old.msix, make(map[uint8]structure)
	for kind, s := range old.structures {
		if s.bus == old.Ports {
			s.bus = p.Ports
		} else {
			s.bus = p.Memory
		}
		p.structures[kind] = s
	}
	return transport, &Driver{Mem: mem, IRQ: irq, t: t, regs: p}
}

func (s *suite) instance(t *testing.T, racy bool) *instance {
	mem := NewMemory(0x10000, s.opts.MemorySize)
	if racy {
		mem = NewRacyMemory(t, 0x10000, s.opts.MemorySize)
	}
	return s.connected(t, mem, nil)
}

func (s *suite) connected(t *testing.T, mem *Memory, from *Driver) *instance {
	in := &instance{device: s.newDevice(t)}
	in.transport, in.Driver = s.connect(t, in.device, mem, NewIRQ(), from)
	t.Cleanup(func() { in.transport.Close() })
	return in
}

// subtest runs f as a subtest that the Driver reports to.
func (in *instance) subtest(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(sub *testing.T) {
		in.t = sub
		defer func() { in.t = t }()
		f(sub)
	})
}

// awaitGoroutines fails the test if more than n goroutines stay.
func awaitGoroutines(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("goroutines left after Close:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// openEvents counts the process's eventfds.
func openEvents(t *testing.T) (n int) {
	t.Helper()
	const dir = "/proc/self/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && link == "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

// serves checks that every queue that serves by itself completes a request.
func (s *suite) serves(t *testing.T, in *instance) {
	t.Helper()
	for i, r := range in.Rings {
		if bufs := s.opts.Request(in.Mem, i); bufs != nil {
			s.serve(t, in, i, r.Add(bufs...), bufs)
		}
	}
}

// serve awaits the request at head.
func (s *suite) serve(t *testing.T, in *instance, queue int, head uint16, bufs []Buf) {
	t.Helper()
	in.Kick(queue)
	u := in.Await(queue)
	var capacity uint64
	for _, b := range bufs {
		if b.Write {
			capacity += uint64(b.Len)
		}
	}
	if u.ID != uint32(head) || uint64(u.Len) > capacity {
		t.Errorf("queue %d: used chain %d, %d bytes, for chain %d of %d", queue, u.ID, u.Len, head, capacity)
	}
}

// restart makes a device that was put into some state work.
func (s *suite) restart(t *testing.T, in *instance) {
	t.Helper()
	in.Reset()
	in.Mem.Reset()
	in.Start(^uint64(0), 16)
	s.serves(t, in)
}

func (s *suite) description(t *testing.T, in *instance) {
	if in.device.Type() == 0 {
		t.Error("device ID is 0")
	}
	if len(in.device.QueueSizes()) == 0 {
		t.Error("device has no queues")
	}
	if in.device.Features() != in.device.Features() || !bytes.Equal(in.ReadConfig(0, 256), in.ReadConfig(0, 256)) {
		t.Error("features or configuration change by themselves")
	}
}

func (s *suite) identification(t *testing.T, in *instance) {
	switch regs := in.regs.(type) {
	case *mmio:
		identifyMMIO(t, in, regs)
	case *pciDevice:
		identifyPCI(t, in, regs)
	}
	for i, want := range in.device.QueueSizes() {
		if got := in.QueueMax(i); got != want {
			t.Errorf("queue %d has maximum size %d, want %d", i, got, want)
		}
	}
	if n := len(in.device.QueueSizes()); in.QueueMax(n) != 0 {
		t.Errorf("queue %d exists", n)
	}
}

func identifyMMIO(t *testing.T, in *instance, regs *mmio) {
	for _, r := range []struct {
		off  uint64
		want uint32
	}{
		{RegMagic, 0x74726976}, {RegVersion, 2}, {RegDeviceID, uint32(in.device.Type())}, {RegStatus, 0},
		{RegSHMLen, 0xffffffff}, {RegSHMLen + 4, 0xffffffff}, {RegSHMBase, 0xffffffff}, {RegSHMBase + 4, 0xffffffff},
	} {
		if got := regs.Read32(r.off); got != r.want {
			t.Errorf("register %#x is %#x, want %#x", r.off, got, r.want)
		}
	}
}

// identifyPCI checks 4.1.2.
func identifyPCI(t *testing.T, in *instance, regs *pciDevice) {
	if got, want := regs.config32(0), 0x1af4|(0x1040+uint32(in.device.Type()))<<16; got != want {
		t.Errorf("the function is %#x, want %#x", got, want)
	}
	if revision := regs.config8(8); revision < 1 {
		t.Errorf("revision %d", revision)
	}
	if pin := regs.config8(0x3d); pin != 0 {
		t.Errorf("interrupt pin %d", pin)
	}
	if n := regs.ReadCommon(CommonNumQueues, 2); int(n) != len(in.device.QueueSizes()) {
		t.Errorf("%d queues, want %d", n, len(in.device.QueueSizes()))
	}
}

// statusMachine walks through 2.1 and 3.1.1.
func (s *suite) statusMachine(t *testing.T, in *instance) {
	const early = virtio.StatusAcknowledge | virtio.StatusDriver
	in.regs.setStatus(virtio.StatusDriverOK)
	if st := in.Status(); st&virtio.StatusDriverOK != 0 {
		t.Errorf("status %#x: DRIVER_OK accepted out of the blue", st)
	}
	in.Reset()
	in.AddStatus(early)
	if st := in.Status(); st != early {
		t.Errorf("status %#x after writing %#x", st, early)
	}
	in.AddStatus(virtio.StatusFeaturesOK)
	if st := in.Status(); st != early {
		t.Errorf("status %#x: FEATURES_OK without VIRTIO_F_VERSION_1", st)
	}
	in.AddStatus(virtio.StatusDriverOK)
	if st := in.Status(); st != early {
		t.Errorf("status %#x: DRIVER_OK without FEATURES_OK", st)
	}
	if !in.Negotiate(virtio.FeatureVersion1) {
		t.Fatal("VIRTIO_F_VERSION_1 alone is not accepted")
	}
	in.regs.setStatus(virtio.StatusAcknowledge)
	if st := in.Status(); st != early|virtio.StatusFeaturesOK {
		t.Errorf("status %#x: a write cleared bits", st)
	}
	in.AddStatus(virtio.StatusNeedsReset)
	if st := in.Status(); st&virtio.StatusNeedsReset != 0 {
		t.Errorf("status %#x: the driver set DEVICE_NEEDS_RESET", st)
	}
	if regs, ok := in.regs.(*mmio); ok {
		regs.Write32(RegStatus, 0x100)
		if in.Status() == 0 {
			t.Error("a write of 0x100 to Status reset the device")
		}
	}
	in.AddStatus(virtio.StatusFailed)
	in.Reset()
	s.restart(t, in)
}

// featureNegotiation tries each feature alone, and some not offered (2.2).
func (s *suite) featureNegotiation(t *testing.T, in *instance) {
	offered := in.DeviceFeatures()
	if page := in.regs.deviceFeatures(2); page != 0 {
		t.Errorf("features 64 to 95 are %#x", page)
	}
	if in.Negotiate(offered &^ virtio.FeatureVersion1) {
		t.Error("accepted without VIRTIO_F_VERSION_1")
	}
	for _, f := range singleBits(offered) {
		if !in.Negotiate(f | virtio.FeatureVersion1) {
			t.Errorf("feature %#x alone is not accepted", f)
		}
		in.Start(f, 16)
		s.serves(t, in)
		in.Mem.next = in.Mem.base
	}
	for _, f := range singleBits(^offered) {
		if in.Negotiate(offered | f) {
			t.Errorf("feature %#x was not offered, but accepted", f)
		}
	}
	in.Reset()
	in.AddStatus(virtio.StatusAcknowledge | virtio.StatusDriver)
	in.WriteFeatures(offered)
	in.regs.setDriverFeatures(2, 1)
	in.AddStatus(virtio.StatusFeaturesOK)
	if in.Status()&virtio.StatusFeaturesOK != 0 {
		t.Error("feature 64 was not offered, but accepted")
	}
	s.restart(t, in)
}

// configPastEnd reads all of the configuration space in all widths, far
// beyond the device's structure.
func (s *suite) configPastEnd(t *testing.T, in *instance) {
	size := in.regs.configSize()
	want := in.ReadConfig(0, size)
	for _, width := range []uint64{2, 4, 8} {
		for off := uint64(0); off+width <= size; off++ {
			p := bytes.Repeat([]byte{0xa5}, int(width))
			in.regs.readConfig(off, p)
			if !bytes.Equal(p, want[off:off+width]) {
				t.Fatalf("%d bytes at %#x are %x, want %x", width, off, p, want[off:off+width])
			}
			in.regs.writeConfig(off, p)
		}
	}
	for _, off := range []uint64{1 << 20, 1<<63 - 1, ^uint64(0) - 7} {
		p := bytes.Repeat([]byte{0xa5}, 8)
		if in.device.ReadConfig(off, p); !bytes.Equal(p, bytes.Repeat([]byte{0xa5}, 8)) {
			t.Errorf("ReadConfig at %#x wrote %x", off, p)
		}
		if w, ok := in.device.(virtio.ConfigWriter); ok {
			w.WriteConfig(off, p)
		}
	}
	in.Reset()
}

// randomRing lets the device work on rings and descriptors of random bytes.
func (s *suite) randomRing(t *testing.T, in *instance) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		in.Mem.next = in.Mem.base
		in.Start(rnd.Uint64(), 16)
		p := in.Mem.data[in.Mem.next-in.Mem.base:]
		for i := 0; i < 4096; i += 8 {
			binary.LittleEndian.PutUint64(p[i:], rnd.Uint64())
		}
		for i, r := range in.Rings {
			for d := range r.Size {
				r.SetDesc(r.Desc, d, Desc{
					Addr:  in.Mem.next + rnd.Uint64N(2*PageSize),
					Len:   uint32(rnd.Uint64N(1024)),
					Flags: uint16(rnd.Uint64N(8)),
					Next:  uint16(rnd.Uint64N(uint64(r.Size) + 1)),
				})
				r.SetHead(d, uint16(rnd.Uint64N(uint64(r.Size))))
			}
			r.SetAvailIdx(uint16(rnd.Uint64N(uint64(r.Size) + 2)))
			in.Notify(i)
		}
		in.Reset()
	}
	s.restart(t, in)
}
