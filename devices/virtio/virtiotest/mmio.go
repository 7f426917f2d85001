package virtiotest

import (
	"encoding/binary"
	"testing"

	"govmm/devices"
	"govmm/devices/virtio/virtiommio"
)

// Registers of an MMIO device (4.2.2).
const (
	RegMagic             = 0x000
	RegVersion           = 0x004
	RegDeviceID          = 0x008
	RegVendorID          = 0x00c
	RegDeviceFeatures    = 0x010
	RegDeviceFeaturesSel = 0x014
	RegDriverFeatures    = 0x020
	RegDriverFeaturesSel = 0x024
	RegQueueSel          = 0x030
	RegQueueNumMax       = 0x034
	RegQueueNum          = 0x038
	RegQueueReady        = 0x044
	RegQueueNotify       = 0x050
	RegInterruptStatus   = 0x060
	RegInterruptACK      = 0x064
	RegStatus            = 0x070
	RegQueueDesc         = 0x080 // low half; the high half follows
	RegQueueDriver       = 0x090
	RegQueueDevice       = 0x0a0
	RegSHMLen            = 0x0b0
	RegSHMBase           = 0x0b8
	RegConfigGeneration  = 0x0fc
	RegConfig            = 0x100
)

// An MMIODriver is the driver of a device behind virtiommio, whose registers can also be accessed as no driver would.
type MMIODriver struct {
	*Driver
	*mmio
}

// NewDriver returns a driver for the registers h of a device with the given memory and interrupt.
func NewDriver(t testing.TB, h devices.Handler, mem *Memory, irq *IRQ) *MMIODriver {
	m := &mmio{h}
	return &MMIODriver{&Driver{Mem: mem, IRQ: irq, t: t, regs: m}, m}
}

// mmio is the registers of section 4.2.2.
type mmio struct{ h devices.Handler }

// Handler returns the registers, for accesses that a driver would not make.
func (m *mmio) Handler() devices.Handler { return m.h }

// Read32 reads a register.
func (m *mmio) Read32(off uint64) uint32 {
	var p [4]byte
	m.h.Read(off, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

// Write32 writes a register.
func (m *mmio) Write32(off uint64, v uint32) {
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	m.h.Write(off, p[:])
}

func (m *mmio) write64(off uint64, v uint64) {
	m.Write32(off, uint32(v))
	m.Write32(off+4, uint32(v>>32))
}

func (m *mmio) status() uint8     { return uint8(m.Read32(RegStatus)) }
func (m *mmio) setStatus(v uint8) { m.Write32(RegStatus, uint32(v)) }

func (m *mmio) deviceFeatures(page uint32) uint32 {
	m.Write32(RegDeviceFeaturesSel, page)
	return m.Read32(RegDeviceFeatures)
}

func (m *mmio) setDriverFeatures(page, bits uint32) {
	m.Write32(RegDriverFeaturesSel, page)
	m.Write32(RegDriverFeatures, bits)
}

func (m *mmio) queueMax(i int) uint16 {
	m.Write32(RegQueueSel, uint32(i))
	return uint16(m.Read32(RegQueueNumMax))
}

func (m *mmio) queueReady(i int) bool {
	m.Write32(RegQueueSel, uint32(i))
	return m.Read32(RegQueueReady) != 0
}

func (m *mmio) setUpQueue(i int, r *Ring) {
	m.Write32(RegQueueSel, uint32(i))
	m.Write32(RegQueueNum, uint32(r.Size))
	m.write64(RegQueueDesc, r.Desc)
	m.write64(RegQueueDriver, r.Avail)
	m.write64(RegQueueDevice, r.Used)
	m.Write32(RegQueueReady, 1)
}

func (m *mmio) notify(i int)                     { m.Write32(RegQueueNotify, uint32(i)) }
func (m *mmio) readConfig(off uint64, p []byte)  { m.h.Read(RegConfig+off, p) }
func (m *mmio) writeConfig(off uint64, p []byte) { m.h.Write(RegConfig+off, p) }
func (m *mmio) configSize() uint64               { return virtiommio.RegionSize - RegConfig }
func (m *mmio) acknowledge()                     { m.Write32(RegInterruptACK, m.Read32(RegInterruptStatus)) }
func (m *mmio) configInterrupted() bool          { return m.Read32(RegInterruptStatus)&2 != 0 }
func (m *mmio) pending() bool                    { return m.Read32(RegInterruptStatus) != 0 }
