//go:build kvmtest

package machine

import (
	"encoding/binary"
	"math/rand/v2"

	"govmm/devices/pci"
	"govmm/devices/virtio"
)

// Where a hostile guest has what: all of its RAM that is neither interpreter nor script.
const (
	hostileMemory = 64 << 20
	hostileRings  = 0x180_0000 // 64 KiB for each queue
	hostileBlob   = 0x200_0000 // contents of requests, written by the test
	blobRoom      = 8 << 20
	hostileBuffer = hostileBlob + blobRoom // for devices to write to, up to the last byte of RAM
)

// A hostile is what one guest is about to do, made up from a source of random numbers.
type hostile struct {
	*rand.Rand
	transport Transport
	device    virtio.Device // the target: the machine's first
	queues    []hostileQueue
	features  uint64 // that were accepted last
	live      bool   // the device was started and not reset since
	bar       uint64 // where BAR 0 is believed to be

	ops  []operation
	blob []byte
}

func newHostileScript(seed, round uint64, transport Transport, device virtio.Device) *hostile {
	h := &hostile{Rand: rand.New(rand.NewPCG(seed, round)), transport: transport, device: device, bar: pciMemoryBase}
	if device != nil {
		h.queues = make([]hostileQueue, len(device.QueueSizes()))
	}
	h.ops = enableAPIC()
	if transport == PCI {
		h.enablePCI()
	} else {
		h.enableLines()
	}
	return h
}

func (h *hostile) add(op opcode, addr, value uint64) {
	h.ops = append(h.ops, operation{op: op, addr: addr, value: value})
}

func (h *hostile) repeat(op opcode, count uint32, addr, value uint64) {
	h.ops = append(h.ops, operation{op, count, addr, value})
}

// chance is true once in n times.
func (h *hostile) chance(n int) bool { return h.IntN(n) == 0 }

func pick[T any](h *hostile, from ...T) T { return from[h.IntN(len(from))] }

// content puts p where the guest has it, and returns its address.
func (h *hostile) content(p []byte) uint64 {
	if len(h.blob)+len(p) > blobRoom {
		return hostileBlob
	}
	addr := hostileBlob + uint64(len(h.blob))
	h.blob = append(h.blob, p...)
	return addr
}

// bytes are n random ones.
func (h *hostile) bytes(n int) []byte {
	p := make([]byte, 0, n+8)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, h.Uint64())
	}
	return p[:n]
}

// anyAddress is an address that a driver should not give, most of the time.
func (h *hostile) anyAddress() uint64 {
	const end = hostileMemory
	switch h.IntN(16) {
	case 0, 1, 2, 3:
		return hostileRings + h.Uint64N(end-hostileRings)
	case 4:
		return end - 1 - h.Uint64N(16)
	case 5:
		return end - h.Uint64N(2*pageSize)
	case 6:
		return end + h.Uint64N(pageSize)
	case 7:
		return pick(h, h.bar, pciMemoryBase, virtioMMIOBase, uint64(ecamBase), ioapicAddr, localAPICAddr) + h.Uint64N(pageSize)
	case 8:
		return -h.Uint64N(1 << 17)
	case 9:
		return holeEnd - h.Uint64N(1<<17)
	case 10:
		return above4G + h.Uint64N(1<<20)
	case 11:
		return h.Uint64()
	case 12:
		return 1 << h.IntN(64)
	case 13:
		return h.queueAddress()
	case 14:
		if h.chance(8) {
			return h.Uint64N(hostileRings) // its own code and tables, in the end
		}
	}
	return hostileBuffer + h.Uint64N(1<<20)
}

// anyLength is a length of a buffer.
func (h *hostile) anyLength() uint32 {
	return pick(h, 0, 1, 11, 12, 15, 16, 17, 512, 513, 4095, 4096, 4097, 1<<16, 1<<20, 16<<20, hostileMemory, hostileMemory+1,
		1<<31, 1<<32-1, 1<<32-16, h.Uint32(), h.Uint32N(4096))
}

// anyValue is what to write to a register.
func (h *hostile) anyValue() uint64 {
	switch h.IntN(6) {
	case 0:
		return 0
	case 1:
		return ^uint64(0)
	case 2:
		return 1 << h.IntN(64)
	case 3:
		return h.Uint64N(16)
	case 4:
		return h.anyAddress()
	}
	return h.Uint64()
}

var (
	outs   = []opcode{opOut8, opOut16, opOut32}
	ins    = []opcode{opIn8, opIn16, opIn32}
	stores = []opcode{opStore8, opStore16, opStore32, opStore64}
	loads  = []opcode{opLoad8, opLoad16, opLoad32, opLoad64}
)

// endsRun says that a write to a port may end the run by a legal way.
func endsRun(port uint64) bool {
	switch {
	case port >= debugExitPort-3 && port < debugExitPort+4, port >= pm1ControlPort-3 && port < pm1ControlPort+2,
		port >= resetPort-3 && port <= resetPort, port >= i8042Port+1 && port < i8042Port+5:
		return true
	}
	return false
}

// anyPort accesses a port, more often one that is there.
func (h *hostile) anyPort() {
	switch h.IntN(20) {
	case 0: // the clock: an index, and what it selects
		h.add(opOut8, rtcPort, h.Uint64N(256))
		h.add(pick(h, opOut8, opIn8), rtcPort+1, h.anyValue())
		return
	case 1: // the keyboard controller: commands but for those that reset
		h.add(opOut8, i8042Port+4, h.Uint64N(0xf0))
		h.add(pick(h, opOut8, opIn8), i8042Port, h.anyValue())
		return
	}
	known := pick[uint64](h, serialPort, i8042Port, rtcPort, pm1EventPort, pm1ControlPort, resetPort, pciConfigPort, pciPortsBase, MarkPort, 0x40, 0x20, 0xa0)
	port := known + h.Uint64N(16)
	if h.chance(3) {
		port = h.Uint64N(1 << 16)
	}
	if h.chance(2) {
		h.add(pick(h, ins...), port, 0)
		return
	}
	if endsRun(port) && !h.chance(500) {
		return
	}
	switch {
	case h.chance(50):
		h.repeat(opString, h.Uint32N(64), port, hostileBlob)
	case h.chance(50):
		h.repeat(opInput, h.Uint32N(64), port, hostileBuffer)
	default:
		h.add(pick(h, outs...), port, h.anyValue())
	}
}

// anyMMIO accesses memory where no RAM is, or the processor's own devices.
func (h *hostile) anyMMIO() {
	base := pick[uint64](h, pciMemoryBase, h.bar, virtioMMIOBase, ecamBase, ioapicAddr, hostileMemory, above4G, farAway, kvmPagesEnd, acpiBase)
	addr := base + h.Uint64N(0x1_0000)
	if h.chance(8) {
		addr = holeStart + h.Uint64N(ioapicAddr-holeStart)
	}
	switch {
	case h.chance(2):
		h.add(pick(h, loads...), addr, 0)
	case h.chance(100):
		h.repeat(opFill, h.Uint32N(pageSize), addr, h.Uint64())
	default:
		h.add(pick(h, stores...), addr, h.anyValue())
	}
}

// config writes the configuration space of slot by the ports, in order to be understood.
func (h *hostile) config(slot, reg, value uint64) {
	h.add(opOut32, pciConfigPort, 1<<31|slot<<11|reg&^3)
	h.add(opOut32, pciConfigPort+4, value)
}

// anyConfig accesses any configuration space in any way.
func (h *hostile) anyConfig() {
	slot, reg := h.Uint64N(4), h.Uint64N(256)
	if h.chance(8) {
		slot, reg = h.Uint64N(pci.Slots), h.Uint64N(4096)
	}
	switch h.IntN(4) {
	case 0:
		h.add(opOut32, pciConfigPort, 1<<31|slot<<11|reg&^3)
		h.add(pick(h, ins...), pciConfigPort+4+reg&3, 0)
	case 1:
		h.add(opOut32, pciConfigPort, 1<<31|slot<<11|reg&^3)
		h.add(pick(h, outs...), pciConfigPort+4+reg&3, h.anyValue())
	case 2:
		h.add(pick(h, loads...), ecamBase+slot<<15+reg, 0)
	case 3:
		h.add(pick(h, stores...), ecamBase+slot<<15+reg, h.anyValue())
	}
}

// moveBAR places a BAR of one of the devices, onto RAM, interrupt controllers and other BARs among others.
func (h *hostile) moveBAR() {
	slot := 1 + h.Uint64N(2)
	if h.chance(4) {
		port := pick(h, h.Uint64N(1<<16)&^3, pciPortsBase, pciConfigPort, 0x20, 0x60, 0x3f8, 0xfffc, serialPort&^7)
		h.config(slot, 0x18, port)
		return
	}
	addr := pick(h, uint64(pciMemoryBase), pciMemoryBase+0x8000*h.Uint64N(4), h.anyAddress(), 0, ecamBase, virtioMMIOBase, ioapicAddr, localAPICAddr,
		hostileRings, above4G, farPhys, ^uint64(0))
	h.config(slot, 0x10, addr)
	if h.chance(2) || addr>>32 != 0 {
		h.config(slot, 0x14, addr>>32)
	}
	if slot == 1 && addr < holeEnd {
		h.bar = addr &^ 0x7fff
	}
	if h.chance(2) {
		h.config(slot, 0x04, h.Uint64N(8))
	}
	h.config(slot, 0x04, 7)
	if slot == 1 && h.chance(2) {
		h.enablePCI()
	}
}
