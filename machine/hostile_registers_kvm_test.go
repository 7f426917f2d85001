//go:build kvmtest

package machine

import (
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// enablePCI puts the target where firmware has put it, and lets it send messages.
func (h *hostile) enablePCI() {
	h.bar = pciMemoryBase
	h.config(1, 0x10, pciMemoryBase)
	h.config(1, 0x14, 0)
	h.config(1, 0x18, pciPortsBase)
	h.config(1, 0x04, 7)
	for i := range uint64(len(h.queues) + 1) {
		h.vector(i, localAPICAddr, 0x30+i%0x80, 0)
	}
	h.config(1, h.msixCapability(), 0x8000_0011) // message control: enabled
}

// msixCapability is the last in the list. A device without ports has one fewer.
func (h *hostile) msixCapability() uint64 {
	const header, structure, notify, access = 0x40, 16, 20, 20
	return header + 2*notify + 3*structure + access
}

// vector programs an entry of the MSI-X table.
func (h *hostile) vector(i, addr, data, control uint64) {
	at := h.bar + 0x4000 + 16*i
	h.add(opStore64, at, addr)
	h.add(opStore32, at+8, data)
	h.add(opStore32, at+12, control)
}

// anyVector has messages that no device should send: to other addresses, and of any delivery mode.
func (h *hostile) anyVector() {
	addr := pick(h, localAPICAddr, localAPICAddr|h.Uint64N(1<<20)&^3, h.anyAddress(), h.Uint64())
	data := 0x20 + h.Uint64N(0xd0)
	if h.chance(20) {
		data |= h.Uint64N(8) << 8 // NMI, INIT and others
	}
	if h.chance(20) {
		data = h.Uint64()
	}
	h.vector(h.Uint64N(uint64(len(h.queues))+3), addr, data, h.Uint64N(2))
	if h.chance(4) {
		h.config(1, h.msixCapability(), pick(h, 0x8000_0000, 0, 0xc000_0000, h.Uint64()))
	}
}

// enableLines programs the I/O APIC's pins that devices use.
func (h *hostile) enableLines() {
	for i, gsi := range virtioGSIs[:2] {
		h.redirect(uint64(gsi), 0x30+uint64(i))
	}
	h.redirect(serialIRQ, 0x40)
	h.redirect(sciIRQ, 0x41)
}

// redirect writes an entry of the redirection table (82093AA, 3.2.4).
func (h *hostile) redirect(pin, entry uint64) {
	h.add(opStore32, ioapicAddr, 0x10+2*pin)
	h.add(opStore32, ioapicAddr+0x10, entry)
}

// storeOf returns the operation that stores size bytes.
func storeOf(size int) opcode {
	switch size {
	case 1:
		return opStore8
	case 2:
		return opStore16
	case 4:
		return opStore32
	}
	return opStore64
}

// set writes a register of the target: of virtio_pci_common_cfg, or its twin of MMIO.
func (h *hostile) set(common uint64, size int, mmio, value uint64) {
	if h.transport == PCI {
		h.add(storeOf(size), h.bar+common, value)
		return
	}
	h.add(opStore32, virtioAddr(0)+mmio, value)
	if size == 8 {
		h.add(opStore32, virtioAddr(0)+mmio+4, value>>32)
	}
}

func (h *hostile) setStatus(v uint8) {
	h.set(virtiotest.CommonStatus, 1, virtiotest.RegStatus, uint64(v))
}

func (h *hostile) selectQueue(i int) {
	h.set(virtiotest.CommonQueueSel, 2, virtiotest.RegQueueSel, uint64(i))
}

func (h *hostile) notify(i int) {
	switch {
	case h.transport == MMIO:
		h.add(opStore32, virtioAddr(0)+virtiotest.RegQueueNotify, uint64(i))
	case h.chance(2):
		h.add(opOut16, pciPortsBase+4*uint64(i), uint64(i))
	default:
		h.add(opStore16, h.bar+0x3000+4*uint64(i), uint64(i))
	}
}

// acceptFeatures writes features, which is to be done in two halves.
func (h *hostile) acceptFeatures(features uint64) {
	for page := range uint64(2) {
		h.set(virtiotest.CommonDriverFeatureSel, 4, virtiotest.RegDriverFeaturesSel, page)
		h.set(virtiotest.CommonDriverFeature, 4, virtiotest.RegDriverFeatures, features>>(32*page)&0xffff_ffff)
	}
}

// handshake initializes the device (3.1.1), most of the time as it should be.
func (h *hostile) handshake() {
	h.setStatus(0)
	h.setStatus(virtio.StatusAcknowledge)
	h.setStatus(virtio.StatusAcknowledge | virtio.StatusDriver)
	offered := h.device.Features() | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx | virtio.FeatureVersion1
	h.features = offered&(h.Uint64()|h.Uint64()) | virtio.FeatureVersion1
	if h.chance(20) {
		h.features = h.Uint64()
	}
	h.acceptFeatures(h.features)
	status := virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK
	h.setStatus(status)
	if h.chance(20) {
		h.acceptFeatures(h.Uint64())
	}
	if h.transport == PCI {
		h.set(virtiotest.CommonConfigVector, 2, 0, 0)
	}
	for i := range h.queues {
		if !h.chance(20) {
			h.setUpQueue(i)
		}
	}
	h.setStatus(status | virtio.StatusDriverOK)
	h.live = true
}

// setUpQueue gives a queue its rings and enables it.
func (h *hostile) setUpQueue(i int) {
	var q hostileQueue
	q.init(h, i)
	h.setUpQueueAt(i, q)
}

func (h *hostile) setUpQueueAt(i int, q hostileQueue) {
	h.queues[i] = q
	h.selectQueue(i)
	if h.transport == PCI {
		h.set(virtiotest.CommonQueueVector, 2, 0, uint64(i+1))
	}
	h.set(virtiotest.CommonQueueSize, 2, virtiotest.RegQueueNum, uint64(q.size))
	h.set(virtiotest.CommonQueueDesc, 8, virtiotest.RegQueueDesc, q.desc)
	h.set(virtiotest.CommonQueueDriver, 8, virtiotest.RegQueueDriver, q.avail)
	h.set(virtiotest.CommonQueueDevice, 8, virtiotest.RegQueueDevice, q.used)
	h.set(virtiotest.CommonQueueEnable, 2, virtiotest.RegQueueReady, 1)
}

// reconfigure does to a device at work what only one that was reset allows.
func (h *hostile) reconfigure() {
	i := h.IntN(len(h.queues) + 1)
	h.selectQueue(i)
	switch h.IntN(8) {
	case 0:
		h.set(virtiotest.CommonQueueSize, 2, virtiotest.RegQueueNum, h.anyValue())
	case 1:
		h.set(virtiotest.CommonQueueDesc, 8, virtiotest.RegQueueDesc, h.anyAddress())
	case 2:
		h.set(virtiotest.CommonQueueDriver, 8, virtiotest.RegQueueDriver, h.anyAddress())
	case 3:
		h.set(virtiotest.CommonQueueDevice, 8, virtiotest.RegQueueDevice, h.anyAddress())
	case 4:
		h.set(virtiotest.CommonQueueEnable, 2, virtiotest.RegQueueReady, h.Uint64N(3))
	case 5:
		h.acceptFeatures(h.Uint64())
	case 6:
		h.set(virtiotest.CommonQueueVector, 2, virtiotest.RegInterruptACK, h.anyValue())
	case 7:
		h.setStatus(uint8(h.Uint64() | 1))
	}
}

// anyRegister accesses a register of the target, or a place near one.
func (h *hostile) anyRegister() {
	base, room := virtioAddr(0), uint64(0x200)
	if h.transport == PCI {
		base, room = h.bar+pick[uint64](h, 0, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000), 0x80
	}
	addr := base + h.Uint64N(room)
	switch {
	case h.chance(3):
		h.add(pick(h, loads...), addr, 0)
	case h.chance(200):
		h.repeat(pick(h, opFill, opFill32), h.Uint32N(256), addr, h.Uint64())
	default:
		h.add(pick(h, stores...), addr, h.anyValue())
	}
}
