package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"govmm/devices"
)

// Slots is the number of devices on a bus. The host bridge is the first.
const Slots = 32

// ConfigPortsSize is the number of ports from 0xcf8 on that configuration accesses take.
const ConfigPortsSize = 8

// ECAMSize is the number of bytes that one bus takes of memory: 4096 for each of 8 functions of each slot.
const ECAMSize = 1 << 20

// A Range is a part of an address space that BARs may have.
type Range struct{ Base, Size uint64 }

// A RootConfig says where the bus is in the machine.
type RootConfig struct {
	Memory, Ports             *devices.Bus // where the regions of BARs are added
	MemoryWindow, PortsWindow Range        // where firmware's part, Add, places them
}

// A Root is a host bridge with its bus, number 0. All methods are safe for concurrent use, Add only before a vCPU runs.
type Root struct {
	cfg        RootConfig
	nextMemory uint64
	nextPorts  uint64
	slots      [Slots]*Function
	count      int
	address    atomic.Uint32 // CONFIG_ADDRESS (3.2.2.3.2)

	moving sync.Mutex // serializes changes of where BARs are
}

// NewRoot returns a bus with nothing on it but the host bridge.
func NewRoot(cfg RootConfig) (*Root, error) {
	if cfg.Memory == nil || cfg.Ports == nil {
		return nil, errors.New("pci: Memory and Ports are required")
	}
	r := &Root{cfg: cfg, nextMemory: cfg.MemoryWindow.Base, nextPorts: cfg.PortsWindow.Base}
	// The identity of a host bridge that is known not to need any quirk: the generic one of QEMU.
	bridge := NewFunction("host bridge", ID{Vendor: 0x1b36, Device: 0x0008, Class: 0x060000, SubsystemVendor: 0x1af4, Subsystem: 0x1100})
	if _, err := r.Add(bridge); err != nil {
		return nil, err
	}
	return r, nil
}

// Add puts f into the next free slot, whose number it returns, and gives its BARs addresses, as firmware does. They
// answer when the guest's driver has enabled them.
func (r *Root) Add(f *Function) (slot int, err error) {
	if r.count == Slots {
		return 0, fmt.Errorf("pci: all %d slots are taken", Slots)
	}
	for _, b := range f.bars {
		next, window := &r.nextMemory, r.cfg.MemoryWindow
		if b.Space == Ports {
			next, window = &r.nextPorts, r.cfg.PortsWindow
		}
		addr := (*next + b.Size - 1) &^ (b.Size - 1)
		if addr < window.Base || addr-window.Base > window.Size || b.Size > window.Size-(addr-window.Base) {
			return 0, fmt.Errorf("pci: %s: no addresses are left for BAR %d of size %#x", f.name, b.Index, b.Size)
		}
		b.place(addr)
		*next = addr + b.Size
	}
	slot = r.count
	r.slots[slot] = f
	r.count++
	f.changed = func() { r.move(f) }
	return slot, nil
}

// move makes f's BARs answer where their registers say.
func (r *Root) move(f *Function) {
	r.moving.Lock()
	defer r.moving.Unlock()
	left := false
	for _, b := range f.bars {
		if addr, decoded := b.where(); b.mapped && (!decoded || addr != b.at) {
			r.unmap(b)
			left = true
		}
	}
	if left {
		// What was hidden by f may answer now.
		for _, other := range r.slots[:r.count] {
			r.mapAll(other)
		}
		return
	}
	r.mapAll(f)
}

// mapAll maps the BARs of f that are to answer and do not, unless something else is there. It is called with
// moving held.
func (r *Root) mapAll(f *Function) {
	for _, b := range f.bars {
		addr, decoded := b.where()
		if b.mapped || !decoded {
			continue
		}
		// What does not fit answers nothing, as in a machine where nobody decodes the address or two do.
		if r.bus(b).Add(addr, b.Size, f.name, b.Handler) != nil {
			continue
		}
		b.mapped, b.at = true, addr
		if b.Moved != nil {
			b.Moved(addr, true)
		}
	}
}

// unmap is called with moving held.
func (r *Root) unmap(b *bar) {
	r.bus(b).Remove(b.at)
	b.mapped = false
	if b.Moved != nil {
		b.Moved(b.at, false)
	}
}

func (r *Root) bus(b *bar) *devices.Bus {
	if b.Space == Ports {
		return r.cfg.Ports
	}
	return r.cfg.Memory
}

// function returns what is at a bus, device and function number, which lie one after the other in
// bits 15 to 0 of bdf, or nil.
func (r *Root) function(bdf uint32) *Function {
	if slot := bdf >> 3; bdf&7 == 0 && slot < uint32(r.count) {
		return r.slots[slot]
	}
	return nil
}

// ECAM returns the handler of the configuration spaces in memory, ECAMSize bytes.
func (r *Root) ECAM() devices.Handler { return (*ecam)(r) }

type ecam Root

func (e *ecam) Read(off uint64, p []byte) {
	if f := (*Root)(e).at(off, p); f != nil {
		f.Read(off&0xfff, p)
		return
	}
	absent(p)
}

func (e *ecam) Write(off uint64, p []byte) {
	if f := (*Root)(e).at(off, p); f != nil {
		f.Write(off&0xfff, p)
	}
}

// at returns the function for an access that does not leave its space.
func (r *Root) at(off uint64, p []byte) *Function {
	if off&0xfff+uint64(len(p)) > 0x1000 {
		return nil
	}
	return r.function(uint32(off >> 12))
}

// absent fills p with what nobody answers.
func absent(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

// ConfigPorts returns the handler of the ports 0xcf8 to 0xcff (configuration mechanism #1, 3.2.2.3.2). A PC has its reset control
// register among them, at 0xcf9: reset answers accesses of one byte to it. It may be nil.
func (r *Root) ConfigPorts(reset devices.Handler) devices.Handler {
	return &configPorts{root: r, reset: reset}
}

type configPorts struct {
	root  *Root
	reset devices.Handler
}

const (
	offData  = 4 // CONFIG_DATA
	offReset = 1
	enable   = 1 << 31 // in CONFIG_ADDRESS

	reservedAddress = 0x7f00_0003
)

func (c *configPorts) Read(off uint64, p []byte) {
	switch {
	case off >= offData:
		if f, reg := c.selected(off); f != nil {
			f.Read(reg, p)
			return
		}
		absent(p)
	case off == 0 && len(p) == 4:
		binary.LittleEndian.PutUint32(p, c.root.address.Load())
	case off == offReset && len(p) == 1 && c.reset != nil:
		c.reset.Read(0, p)
	default:
		absent(p)
	}
}

func (c *configPorts) Write(off uint64, p []byte) {
	switch {
	case off >= offData:
		if f, reg := c.selected(off); f != nil {
			f.Write(reg, p)
		}
	case off == 0 && len(p) == 4:
		c.root.address.Store(binary.LittleEndian.Uint32(p) &^ reservedAddress)
	case off == offReset && len(p) == 1 && c.reset != nil:
		c.reset.Write(0, p)
	}
}

// selected returns the function and the register that CONFIG_ADDRESS and the port select.
func (c *configPorts) selected(off uint64) (*Function, uint64) {
	a := c.root.address.Load()
	if a&enable == 0 {
		return nil, 0
	}
	return c.root.function(a >> 8 & 0xffff), uint64(a&0xfc) + off - offData
}
