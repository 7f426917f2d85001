package virtiopci

import (
	"encoding/binary"

	"govmm/devices"
	"govmm/devices/pci"
	"govmm/devices/virtio"
)

const capVendor = 0x09 // capability ID: vendor specific (4.1.4)

// Types of structures, cfg_type (4.1.4).
const (
	cfgCommon = 1
	cfgNotify = 2
	cfgISR    = 3
	cfgDevice = 4
	cfgPCI    = 5
)

// class returns the PCI class code that tells an operating system without a driver what it has.
func class(t virtio.DeviceType) uint32 {
	switch t {
	case virtio.TypeNet:
		return 0x020000 // Ethernet controller
	case virtio.TypeBlock:
		return 0x018000 // other mass storage controller
	case virtio.TypeConsole:
		return 0x078000 // other communication controller
	case virtio.TypeEntropy:
		return 0x100000 // encryption controller, network
	}
	return 0xff0000 // fits in no class
}

// newFunction makes the configuration space (4.1.2, 4.1.4).
func (t *Transport) newFunction() (*pci.Function, error) {
	kind := t.cfg.Device.Type()
	queues := len(t.cfg.Device.QueueSizes())
	f := pci.NewFunction(t.cfg.Name, pci.ID{
		Vendor: vendorID, Device: deviceIDBase + uint16(kind), Revision: revision, Class: class(kind),
		SubsystemVendor: vendorID, Subsystem: deviceIDBase + uint16(kind),
	})
	err := f.AddBAR(pci.BAR{Index: memoryBAR, Size: barSize, Handler: t, Moved: func(addr uint64, on bool) {
		t.watch(pci.Memory, addr+notifyOffset, on)
	}})
	if err != nil {
		return nil, err
	}
	// 256 ports are the most that a BAR may have.
	if size := portsSize(queues); size <= 256 {
		err := f.AddBAR(pci.BAR{Index: portsBAR, Space: pci.Ports, Size: size, Handler: (*ports)(t), Moved: func(addr uint64, on bool) {
			t.watch(pci.Ports, addr, on)
		}})
		if err != nil {
			return nil, err
		}
		if err := addNotify(f, portsBAR, 0, queues); err != nil {
			return nil, err
		}
	}
	if err := addNotify(f, memoryBAR, notifyOffset, queues); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		kind         uint8
		offset, size uint32
	}{{cfgCommon, commonOffset, commonSize}, {cfgISR, isrOffset, 1}, {cfgDevice, deviceOffset, structureSize}} {
		if _, err := f.AddCapability(capVendor, structure(c.kind, memoryBAR, c.offset, c.size, nil), nil); err != nil {
			return nil, err
		}
	}
	if err := t.addConfigAccess(f); err != nil {
		return nil, err
	}
	return f, f.AddMSIX(t.msix, memoryBAR, tableOffset, pendingOffset)
}

// portsSize returns the size of BAR 2.
func portsSize(queues int) uint64 {
	size := uint64(4)
	for size < uint64(queues)*doorbellStride {
		size *= 2
	}
	return size
}

// structure returns struct virtio_pci_cap from cap_len on (4.1.4), and what follows it.
func structure(kind, bar uint8, offset, length uint32, rest []byte) []byte {
	p := make([]byte, 14, 14+len(rest))
	p[0] = uint8(2 + 14 + len(rest))
	p[1], p[2] = kind, bar
	binary.LittleEndian.PutUint32(p[6:], offset)
	binary.LittleEndian.PutUint32(p[10:], length)
	return append(p, rest...)
}

// addNotify adds a notification structure (4.1.4.4).
func addNotify(f *pci.Function, bar uint8, offset uint32, queues int) error {
	multiplier := binary.LittleEndian.AppendUint32(nil, doorbellStride)
	_, err := f.AddCapability(capVendor, structure(cfgNotify, bar, offset, uint32(queues)*doorbellStride, multiplier), nil)
	return err
}

// Offsets in struct virtio_pci_cfg_cap (4.1.4.9) that the driver writes.
const (
	accessBAR    = 4
	accessOffset = 8
	accessLength = 12
	accessData   = 16
)

// addConfigAccess adds the capability by which a driver, often a firmware's, reaches the BARs through the configuration space.
func (t *Transport) addConfigAccess(f *pci.Function) error {
	body := structure(cfgPCI, 0, 0, 0, make([]byte, 4))
	writable := make([]byte, len(body))
	writable[accessBAR-2] = 0xff
	for i := accessOffset - 2; i < accessData-2; i++ {
		writable[i] = 0xff
	}
	at, err := f.AddCapability(capVendor, body, writable)
	if err != nil {
		return err
	}
	t.access = &configAccess{transport: t, function: f, at: at}
	f.AddWindow(at+accessData, 4, t.access)
	return nil
}

// configAccess is the handler of pci_cfg_data (4.1.4.9).
type configAccess struct {
	transport *Transport
	function  *pci.Function
	at        uint64 // of the capability
}

func (a *configAccess) Read(off uint64, p []byte) {
	clear(p)
	if h, at, n := a.target(); h != nil && off == 0 && n <= uint64(len(p)) {
		h.Read(at, p[:n])
	}
}

func (a *configAccess) Write(off uint64, p []byte) {
	if h, at, n := a.target(); h != nil && off == 0 && n <= uint64(len(p)) {
		h.Write(at, p[:n])
	}
}

// target returns what the driver wants to access, or nil if that is not in a BAR.
func (a *configAccess) target() (h devices.Handler, offset, length uint64) {
	var p [accessData]byte
	a.function.Read(a.at, p[:])
	offset = uint64(binary.LittleEndian.Uint32(p[accessOffset:]))
	length = uint64(binary.LittleEndian.Uint32(p[accessLength:]))
	if length != 1 && length != 2 && length != 4 || offset%length != 0 {
		return nil, 0, 0
	}
	switch t := a.transport; {
	case p[accessBAR] == memoryBAR && offset < barSize:
		return t, offset, length
	case p[accessBAR] == portsBAR && offset < portsSize(len(t.cfg.Device.QueueSizes())):
		return (*ports)(t), offset, length
	}
	return nil, 0, 0
}
