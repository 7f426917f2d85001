package virtiotest

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"govmm/devices"
	"govmm/devices/pci"
	"govmm/devices/virtio/virtiopci"
)

// Where a PCIDriver's machine has its windows.
const (
	pciMemory = 0xc000_0000
	pciPorts  = 0x1000
	pciSlot   = 1
)

// Offsets in struct virtio_pci_common_cfg (4.1.4.3).
const (
	CommonDeviceFeatureSel = 0x00
	CommonDeviceFeature    = 0x04
	CommonDriverFeatureSel = 0x08
	CommonDriverFeature    = 0x0c
	CommonConfigVector     = 0x10
	CommonNumQueues        = 0x12
	CommonStatus           = 0x14
	CommonGeneration       = 0x15
	CommonQueueSel         = 0x16
	CommonQueueSize        = 0x18
	CommonQueueVector      = 0x1a
	CommonQueueEnable      = 0x1c
	CommonQueueNotifyOff   = 0x1e
	CommonQueueDesc        = 0x20
	CommonQueueDriver      = 0x28
	CommonQueueDevice      = 0x30
)

// Vectors are the interrupts of a device behind virtiopci. Each is an edge of the IRQ.
type Vectors struct {
	IRQ    *IRQ
	counts []atomic.Int64
}

// Make implements virtiopci.Config.Vectors.
func (v *Vectors) Make(n int) []pci.Vector {
	v.counts = make([]atomic.Int64, n)
	vectors := make([]pci.Vector, n)
	for i := range vectors {
		vectors[i] = &vector{v.IRQ, &v.counts[i]}
	}
	return vectors
}

// Count returns how often vector i was sent.
func (v *Vectors) Count(i int) int64 { return v.counts[i].Load() }

type vector struct {
	irq   *IRQ
	count *atomic.Int64
}

func (v *vector) SetMessage(pci.Message) error { return nil }

func (v *vector) Trigger() error {
	v.count.Add(1)
	return v.irq.Trigger()
}

// A PCIDriver is the driver of a device behind virtiopci, on a bus of its own.
type PCIDriver struct {
	*Driver
	*pciDevice
}

// NewPCIDriver puts the device on a bus, finds its structures and enables MSI-X.
func NewPCIDriver(t testing.TB, transport *virtiopci.Transport, mem *Memory, v *Vectors) *PCIDriver {
	t.Helper()
	p := newPCIDevice(t, transport, v)
	p.find()
	p.enable()
	return &PCIDriver{&Driver{Mem: mem, IRQ: v.IRQ, t: t, regs: p}, p}
}

// pciDevice is the registers of section 4.1.
type pciDevice struct {
	Memory, Ports *devices.Bus
	Config        devices.Handler // the function's configuration space

	t          testing.TB
	vectors    *Vectors
	structures map[uint8]structure
	msix       uint64 // offset of the capability
	multiplier uint64
	seen       int64 // changes of the configuration
}

// structure is where one of the device's structures is.
type structure struct {
	bus  *devices.Bus
	addr uint64
	size uint64
}

func newPCIDevice(t testing.TB, transport *virtiopci.Transport, v *Vectors) *pciDevice {
	t.Helper()
	p := &pciDevice{t: t, vectors: v, Memory: devices.NewBus("MMIO", 0), Ports: devices.NewBus("PIO", 1<<16)}
	root, err := pci.NewRoot(pci.RootConfig{
		Memory: p.Memory, Ports: p.Ports,
		MemoryWindow: pci.Range{Base: pciMemory, Size: 1 << 20}, PortsWindow: pci.Range{Base: pciPorts, Size: 0x1000},
	})
	if err != nil {
		t.Fatal(err)
	}
	if slot, err := root.Add(transport.Function()); err != nil || slot != pciSlot {
		t.Fatal(slot, err)
	}
	p.Config = transport.Function()
	return p
}

// find walks through the capabilities (4.1.4), and takes the first structure of each kind.
func (p *pciDevice) find() {
	p.structures = make(map[uint8]structure)
	for at := uint64(p.config8(0x34)); at != 0; at = uint64(p.config8(at + 1)) {
		switch p.config8(at) {
		case 0x11:
			p.msix = at
		case 0x09:
			kind := p.config8(at + 3)
			if _, ok := p.structures[kind]; ok || kind == 5 {
				continue
			}
			p.structures[kind] = p.structure(at)
			if kind == 2 {
				p.multiplier = uint64(p.config32(at + 16))
			}
		}
	}
	for kind := uint8(1); kind <= 4; kind++ {
		if p.structures[kind].size == 0 {
			p.t.Fatalf("there is no structure of type %d", kind)
		}
	}
}

// structure returns where the capability at at says that its structure is.
func (p *pciDevice) structure(at uint64) structure {
	register := 0x10 + 4*uint64(p.config8(at+4))
	bar := uint64(p.config32(register))
	s := structure{bus: p.Ports, addr: bar &^ 3}
	if bar&1 == 0 {
		s.bus, s.addr = p.Memory, bar&^0xf|uint64(p.config32(register+4))<<32
	}
	s.addr += uint64(p.config32(at + 8))
	s.size = uint64(p.config32(at + 12))
	return s
}

// enable makes the BARs answer, and all vectors live.
func (p *pciDevice) enable() {
	p.Config.Write(4, []byte{7, 0})
	table := p.config32(p.msix + 4)
	base := uint64(p.config32(0x10))&^0xf + uint64(table&^7)
	for i := range p.vectors.counts {
		p.Memory.Write(base+16*uint64(i)+12, make([]byte, 4))
	}
	p.Config.Write(p.msix+2, []byte{0, 0x80})
}

func (p *pciDevice) config8(off uint64) uint8 {
	var b [1]byte
	p.Config.Read(off, b[:])
	return b[0]
}

func (p *pciDevice) config32(off uint64) uint32 {
	var b [4]byte
	p.Config.Read(off, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// ReadCommon reads a field of size bytes of the common configuration structure.
func (p *pciDevice) ReadCommon(off uint64, size int) uint64 {
	var b [8]byte
	s := p.structures[1]
	s.bus.Read(s.addr+off, b[:size])
	return binary.LittleEndian.Uint64(b[:])
}

// WriteCommon writes a field of size bytes of the common configuration structure.
func (p *pciDevice) WriteCommon(off uint64, size int, v uint64) {
	s := p.structures[1]
	s.bus.Write(s.addr+off, binary.LittleEndian.AppendUint64(nil, v)[:size])
}

// ReadISR reads the ISR status, which clears it.
func (p *pciDevice) ReadISR() uint8 {
	var b [1]byte
	s := p.structures[3]
	s.bus.Read(s.addr, b[:])
	return b[0]
}

func (p *pciDevice) status() uint8 { return uint8(p.ReadCommon(CommonStatus, 1)) }

// setStatus also chooses the vector for changes of the configuration after a reset, which takes it away.
func (p *pciDevice) setStatus(v uint8) {
	p.WriteCommon(CommonStatus, 1, uint64(v))
	if v == 0 {
		p.WriteCommon(CommonConfigVector, 2, 0)
		p.seen = p.vectors.Count(0)
	}
}

func (p *pciDevice) deviceFeatures(page uint32) uint32 {
	p.WriteCommon(CommonDeviceFeatureSel, 4, uint64(page))
	return uint32(p.ReadCommon(CommonDeviceFeature, 4))
}

func (p *pciDevice) setDriverFeatures(page, bits uint32) {
	p.WriteCommon(CommonDriverFeatureSel, 4, uint64(page))
	p.WriteCommon(CommonDriverFeature, 4, uint64(bits))
}

func (p *pciDevice) queueMax(i int) uint16 {
	p.WriteCommon(CommonQueueSel, 2, uint64(i))
	return uint16(p.ReadCommon(CommonQueueSize, 2))
}

func (p *pciDevice) queueReady(i int) bool {
	p.WriteCommon(CommonQueueSel, 2, uint64(i))
	return p.ReadCommon(CommonQueueEnable, 2) != 0
}

func (p *pciDevice) setUpQueue(i int, r *Ring) {
	p.WriteCommon(CommonQueueSel, 2, uint64(i))
	p.WriteCommon(CommonQueueVector, 2, uint64(i+1))
	if v := p.ReadCommon(CommonQueueVector, 2); v != uint64(i+1) {
		p.t.Errorf("queue %d has vector %d", i, v)
	}
	p.WriteCommon(CommonQueueSize, 2, uint64(r.Size))
	p.WriteCommon(CommonQueueDesc, 8, r.Desc)
	p.WriteCommon(CommonQueueDriver, 4, r.Avail)
	p.WriteCommon(CommonQueueDriver+4, 4, r.Avail>>32)
	p.WriteCommon(CommonQueueDevice, 8, r.Used)
	p.WriteCommon(CommonQueueEnable, 2, 1)
}

func (p *pciDevice) notify(i int) {
	p.WriteCommon(CommonQueueSel, 2, uint64(i))
	s := p.structures[2]
	at := p.ReadCommon(CommonQueueNotifyOff, 2) * p.multiplier
	s.bus.Write(s.addr+at, binary.LittleEndian.AppendUint16(nil, uint16(i)))
}

func (p *pciDevice) readConfig(off uint64, b []byte) {
	s := p.structures[4]
	s.bus.Read(s.addr+off, b)
}

func (p *pciDevice) writeConfig(off uint64, b []byte) {
	s := p.structures[4]
	s.bus.Write(s.addr+off, b)
}

func (p *pciDevice) configSize() uint64      { return p.structures[4].size }
func (p *pciDevice) acknowledge()            {}
func (p *pciDevice) configInterrupted() bool { return p.vectors.Count(0) != p.seen }
func (p *pciDevice) pending() bool           { return p.ReadISR() != 0 }
