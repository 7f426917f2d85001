package main

import "encoding/binary"

// Where govmm has what (docs/devices.md): structures in BAR 0, and the page of the first virtio-mmio device.
const (
	pciBAR   = 0x8000
	notify   = 0x3000
	table    = 0x4000
	mmioBase = 0xd000_0000
)

// A register is one of virtio_pci_common_cfg (virtio 1.2, 4.1.4.3) with its size, and its twin of virtio-mmio (4.2.2).
type register struct{ pci, size, mmio int }

var (
	featureSelect = register{0x08, 4, 0x24}
	feature       = register{0x0c, 4, 0x20}
	status        = register{0x14, 1, 0x70}
	queueSelect   = register{0x16, 2, 0x30}
	queueSize     = register{0x18, 2, 0x38}
	queueVector   = register{0x1a, 2, 0x64}
	queueEnable   = register{0x1c, 2, 0x44}
	queueDesc     = register{0x20, 8, 0x80}
	queueDriver   = register{0x28, 8, 0x90}
	queueDevice   = register{0x30, 8, 0xa0}
)

func (a *attacker) set(d *device, r register, v uint64) {
	a.writes++
	switch {
	case !d.mmio:
		store(d.bar, r.pci, r.size, v)
	case r.size == 8:
		store(d.bar, r.mmio+4, 4, v>>32)
		fallthrough
	default:
		store(d.bar, r.mmio, 4, v)
	}
}

// most is how large a selected queue can be.
func (d *device) most() uint64 {
	if d.mmio {
		return load(d.bar, 0x34, 4)
	}
	return load(d.bar, queueSize.pci, 2)
}

func (a *attacker) reset(d *device) {
	a.set(d, status, 0)
	d.live = false
}

// start initializes the device (3.1.1), mostly as it should be.
func (a *attacker) start(d *device) {
	a.reset(d)
	a.set(d, status, 3)
	for page := range uint64(2) {
		a.set(d, featureSelect, page)
		bits := a.Uint64() | a.Uint64() // too many, which FEATURES_OK refuses
		if a.IntN(4) != 0 {
			bits = []uint64{a.Uint64() & 0x3000_0000, 1}[page] // rings' features, VERSION_1
		}
		a.set(d, feature, bits&0xffff_ffff)
	}
	a.set(d, status, 11)
	for i := range d.queues {
		q := &d.queues[i]
		clear(a.memory.bytes[q.page*pageSize:][:3*pageSize])
		addresses := a.memory.pages[q.page:]
		a.set(d, queueSelect, uint64(i))
		*q = queue{page: q.page, size: int(min(d.most(), ringSize))}
		a.set(d, queueSize, uint64(q.size))
		a.set(d, queueVector, uint64(i))
		a.set(d, queueDesc, addresses[0])
		a.set(d, queueDriver, addresses[1])
		a.set(d, queueDevice, addresses[2])
		if a.IntN(16) == 0 {
			r := []register{queueSize, queueDesc, queueDriver}[a.IntN(3)]
			a.set(d, r, a.anyAddress(false))
		}
		a.set(d, queueEnable, 1)
	}
	a.set(d, status, 15)
	d.live = true
}

// anyAddress is a physical address: of its own memory, or where a device had better not look. Only a wild one may be the kernel's.
func (a *attacker) anyAddress(wild bool) uint64 {
	switch a.IntN(8) {
	case 0:
		return []uint64{0xc000_0000, 0xd000_0000, 0xe000_0000, 0xfec0_0000, 0xfee0_0000, 1 << 32, 1 << 40, ^uint64(0), 1 << 63}[a.IntN(9)] - a.Uint64N(32)
	case 1:
		if wild {
			return a.Uint64N(1 << 30)
		}
	}
	return a.memory.pages[len(a.memory.pages)/2+a.IntN(len(a.memory.pages)/2)] + a.Uint64N(pageSize)
}

func (a *attacker) anyLength() uint64 {
	return []uint64{0, 1, 12, 16, 512, 4096, 1 << 20, 1 << 31, 1<<32 - 1, a.Uint64N(1 << 32)}[a.IntN(10)]
}

// request makes a chain of descriptors available. What a device may write to is inside a page of the pinned memory, unless it is wild.
func (a *attacker) request(d *device, wild bool) {
	i := a.IntN(maxQueues)
	q := &d.queues[i]
	if q.size == 0 {
		return
	}
	desc, _ := a.memory.page(q.page)
	avail, _ := a.memory.page(q.page + 1)
	head := a.IntN(q.size)
	for at, left := head, 1+a.IntN(5); left > 0; left-- {
		next := (at + 1) % q.size
		flags, length, addr := uint64(1), a.Uint64N(512), a.anyAddress(false)&^0x1ff
		if left == 1 {
			flags = 0
		}
		if left <= 2 || wild && a.IntN(2) == 0 {
			flags |= 2
		}
		if a.IntN(8) == 0 {
			flags, next = a.Uint64N(8)&^2, a.IntN(2*ringSize) // loops, jumps, indirect tables
			length, addr = a.anyLength(), a.anyAddress(wild)
		}
		if wild && a.IntN(8) == 0 {
			length, addr = a.anyLength(), a.anyAddress(true)
		}
		store(desc, at*16, 8, addr)
		store(desc, at*16+8, 8, length|flags<<32|uint64(next)<<48)
		at = (at + 1) % q.size
	}
	a.content()
	store(avail, 4+2*int(q.next)%q.size, 2, uint64(head))
	q.next++
	if a.IntN(64) == 0 {
		q.next += uint16(a.Uint32())
	}
	store(avail, 2, 2, uint64(q.next))
	a.writes += 4
	a.ring(d, i)
}

// content puts what may be a header of a request at the beginning of some sector of the memory for buffers.
func (a *attacker) content() {
	half := len(a.memory.bytes) / 2
	at := half + a.IntN(half/512)*512
	binary.LittleEndian.PutUint64(a.memory.bytes[at:], []uint64{0, 1, 4, 8, 11, 13, a.Uint64()}[a.IntN(7)])
	binary.LittleEndian.PutUint64(a.memory.bytes[at+8:], []uint64{a.Uint64N(1 << 17), a.Uint64()}[a.IntN(2)])
}

// ring rings the doorbell of queue i.
func (a *attacker) ring(d *device, i int) {
	a.writes++
	if d.mmio {
		store(d.bar, 0x50, 4, uint64(i))
		return
	}
	store(d.bar, notify+4*i, 2, uint64(i))
}

func (a *attacker) doorbells(d *device) {
	for range a.IntN(100) {
		a.ring(d, a.IntN(maxQueues+1))
	}
}

// anyRegister accesses any place of the registers in any width.
func (a *attacker) anyRegister(d *device) {
	size := 1 << a.IntN(4)
	off := a.IntN(0x140)
	if !d.mmio {
		off = a.IntN(0x80) + 0x1000*a.IntN(4)
	}
	off = off / size * size
	if a.IntN(3) == 0 {
		load(d.bar, off, size)
		return
	}
	a.writes++
	store(d.bar, off, size, a.Uint64()>>a.IntN(64))
}

// anyConfig writes the configuration space. A wild one may also move the registers.
func (a *attacker) anyConfig(d *device, wild bool) {
	if d.config == nil {
		return
	}
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], a.Uint32())
	off := int64(0x40 + a.IntN(0xc0))
	if wild {
		off = int64(a.IntN(0x100))
	}
	a.writes++
	_, _ = d.config.WriteAt(p[:1<<a.IntN(3)], off)
	_, _ = d.config.ReadAt(p[:], off&^3)
}

// anyVector writes the MSI-X table. Messages go to vectors that the kernel does not know, and only wild ones to others' addresses.
func (a *attacker) anyVector(d *device, wild bool) {
	at := table + 16*a.IntN(maxQueues+1)
	addr, data := uint64(0xfee0_0000), 0x40+a.Uint64N(0x40)
	if wild && a.IntN(4) == 0 {
		addr, data = a.Uint64(), a.Uint64()
	}
	store(d.bar, at, 8, addr)
	store(d.bar, at+8, 4, data)
	store(d.bar, at+12, 4, a.Uint64N(2))
	a.writes += 3
}
