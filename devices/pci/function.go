// Package pci models conventional PCI as far as a virtual machine needs it: one bus of
// functions behind a host bridge, their configuration space (PCI Local Bus Specification 3.0, chapter 6), base
// address registers that can be sized and moved, and MSI-X.
//
// A [Root] is the bus. It is reached by the ports 0xcf8 and 0xcfc, and by memory (the enhanced configuration access
// mechanism, PCI Express Base Specification 4.0, 7.2.2). A [Function] is the configuration space of one device,
// which fills it with BARs and capabilities before it is added.
//
// Left out: bridges to other buses, functions other than 0, expansion ROMs, INTx, power management, the capabilities
// and the extended configuration space of PCI Express, and the effect of the Bus Master bit: a device whose driver has begun
// to use it works whatever that bit is.
//
// All offsets, widths and values are the guest's. A BAR may be moved anywhere: where something is already, it
// does not answer, and where RAM is, nobody asks it.
package pci

import (
	"encoding/binary"
	"fmt"
	"sync"

	"govmm/devices"
)

// configSize is the length of a conventional configuration space (6.1).
const configSize = 256

// Offsets in a type 0 header (6.1).
const (
	regVendorID      = 0x00
	regDeviceID      = 0x02
	regCommand       = 0x04
	regStatus        = 0x06
	regRevision      = 0x08
	regClass         = 0x09 // 3 bytes
	regBAR           = 0x10
	regSubsysVendor  = 0x2c
	regSubsys        = 0x2e
	regCapabilities  = 0x34
	regInterruptLine = 0x3c
	headerSize       = 0x40
)

// Bits of the command register (6.2.2).
const (
	commandIO     = 1 << 0
	commandMemory = 1 << 1

	// What software may set: bus master, parity error response, SERR# enable and
	// interrupt disable have no effect, but read back.
	commandWritable = commandIO | commandMemory | 1<<2 | 1<<6 | 1<<8 | 1<<10
)

const statusCapabilities = 1 << 4 // status register: there is a capabilities list (6.2.3)

// An ID says what a function is.
type ID struct {
	Vendor, Device             uint16
	Revision                   uint8
	Class                      uint32 // class, subclass and programming interface, 24 bits
	SubsystemVendor, Subsystem uint16
}

// A Function is the configuration space of one function. Methods that add to it are called before it is added to a
// Root; all others are safe for concurrent use.
type Function struct {
	name string
	bars []*bar
	hook []window
	msix *MSIX
	// msixAt is where the MSI-X capability's message control is.
	msixAt uint64
	used   int // bytes of space that the header and capabilities fill
	last   int // offset of the last capability, 0 if there is none

	// changed is called, without mu, when BARs may have moved. The Root sets it.
	changed func()

	mu       sync.Mutex
	space    [configSize]byte
	writable [configSize]byte // the bits that software may write
}

// NewFunction returns a function without BARs and capabilities. The name stands in errors.
func NewFunction(name string, id ID) *Function {
	f := &Function{name: name, used: headerSize, changed: func() {}}
	le := binary.LittleEndian
	le.PutUint16(f.space[regVendorID:], id.Vendor)
	le.PutUint16(f.space[regDeviceID:], id.Device)
	f.space[regRevision] = id.Revision
	f.space[regClass] = byte(id.Class)
	le.PutUint16(f.space[regClass+1:], uint16(id.Class>>8))
	le.PutUint16(f.space[regSubsysVendor:], id.SubsystemVendor)
	le.PutUint16(f.space[regSubsys:], id.Subsystem)
	le.PutUint16(f.writable[regCommand:], commandWritable)
	f.writable[regInterruptLine] = 0xff
	return f
}

// A window is a part of the configuration space that is not memory.
type window struct {
	at      uint64
	size    uint64
	handler devices.Handler
}

// AddCapability appends a capability (6.7) and returns its offset. body is what follows its ID and its pointer to
// the next; writable, as long as body or nil, has the bits of it that software may write.
func (f *Function) AddCapability(id uint8, body, writable []byte) (offset uint64, err error) {
	at, size := (f.used+3)&^3, 2+len(body)
	if at+size > configSize {
		return 0, fmt.Errorf("pci: %s: no room for a capability of %d bytes", f.name, size)
	}
	f.space[at] = id
	copy(f.space[at+2:], body)
	copy(f.writable[at+2:], writable)
	if f.last == 0 {
		f.space[regCapabilities] = byte(at)
		f.space[regStatus] |= statusCapabilities
	} else {
		f.space[f.last+1] = byte(at)
	}
	f.used, f.last = at+size, at
	return uint64(at), nil
}

// AddWindow makes h answer the accesses to size bytes of the configuration space, from offset at on, that lie
// wholly in it. h is called without a lock held, and may read the configuration space.
func (f *Function) AddWindow(at, size uint64, h devices.Handler) {
	f.hook = append(f.hook, window{at, size, h})
}

// Read answers a read of the configuration space. What lies beyond it reads as 0, as an extended space
// without capabilities does.
func (f *Function) Read(off uint64, p []byte) {
	for _, w := range f.hook {
		if off >= w.at && off-w.at+uint64(len(p)) <= w.size {
			w.handler.Read(off-w.at, p)
			return
		}
	}
	clear(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if off < configSize {
		copy(p, f.space[off:])
	}
}

// Write takes a write to the configuration space. Bits that are not writable stay as they are.
func (f *Function) Write(off uint64, p []byte) {
	for _, w := range f.hook {
		if off >= w.at && off-w.at+uint64(len(p)) <= w.size {
			w.handler.Write(off-w.at, p)
			return
		}
	}
	f.merge(off, p)
	end := off + uint64(len(p))
	if off < regBAR+4*barRegisters && end > regCommand {
		f.changed()
	}
	if f.msix != nil && off < f.msixAt+2 && end > f.msixAt {
		f.msix.setControl(f.word(f.msixAt))
	}
}

// merge writes the writable bits.
func (f *Function) merge(off uint64, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, v := range p {
		at := off + uint64(i)
		if at >= configSize {
			return
		}
		mask := f.writable[at]
		f.space[at] = f.space[at]&^mask | v&mask
	}
}

// word returns the 16 bits at off.
func (f *Function) word(off uint64) uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return binary.LittleEndian.Uint16(f.space[off:])
}
