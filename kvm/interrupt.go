package kvm

import (
	"structs"

	"golang.org/x/sys/unix"
)

// An interrupt enters a VM as a GSI, a number that the routing table maps to a pin
// of an in-kernel interrupt controller or to a message to a local APIC. Without
// SetGSIRouting GSI 0 to 15 are the pins of both the PIC and the IOAPIC, 16 to 23
// those of the IOAPIC alone.

// irqLevel is struct kvm_irq_level.
type irqLevel struct {
	_     structs.HostLayout
	irq   uint32
	level uint32
}

// SetIRQLine drives the line of a GSI (KVM_IRQ_LINE, api.rst 4.25). An edge is two
// calls, high then low. It needs CreateIRQChip and does not allocate.
func (m *VM) SetIRQLine(gsi uint32, high bool) error {
	arg := irqLevel{irq: gsi}
	if high {
		arg.level = 1
	}
	return set(&m.handle, kvmIRQLine, &arg)
}

// irqfd is struct kvm_irqfd.
type irqfd struct {
	_          structs.HostLayout
	fd         uint32
	gsi        uint32
	flags      uint32
	resampleFD uint32
	_          [16]uint8
}

const irqfdDeassign = 1 << 0 // KVM_IRQFD_FLAG_DEASSIGN

// AssignIRQFD makes each signal of the eventfd fd an edge on gsi, raised by the
// kernel itself (KVM_IRQFD, api.rst 4.75). The eventfd may be closed before the
// VM; KVM lets go of it then.
func (m *VM) AssignIRQFD(fd int, gsi uint32) error {
	return m.irqfd(irqfd{fd: uint32(fd), gsi: gsi})
}

// DeassignIRQFD undoes AssignIRQFD with the same arguments, and returns when no
// interrupt from fd is under way any more.
func (m *VM) DeassignIRQFD(fd int, gsi uint32) error {
	return m.irqfd(irqfd{fd: uint32(fd), gsi: gsi, flags: irqfdDeassign})
}

func (m *VM) irqfd(arg irqfd) error { return set(&m.handle, kvmIRQFD, &arg) }

// MSI is a message-signalled interrupt: the address that a PCI device would write
// and the value. On x86 they choose the local APIC, the vector and the delivery mode
// (Intel SDM volume 3, 11.11).
type MSI struct {
	Addr uint64
	Data uint32
}

// msi is struct kvm_msi.
type msi struct {
	_         structs.HostLayout
	addressLo uint32
	addressHi uint32
	data      uint32
	flags     uint32
	devID     uint32
	_         [12]uint8
}

// SignalMSI delivers s at once (KVM_SIGNAL_MSI, api.rst 4.71). delivered is false
// when the guest had it masked. It does not allocate.
func (m *VM) SignalMSI(s MSI) (delivered bool, err error) {
	arg := msi{addressLo: uint32(s.Addr), addressHi: uint32(s.Addr >> 32), data: s.Data}
	n, err := ioctlPtr(&m.handle, kvmSignalMSI, &arg)
	return n > 0, err
}

// RouteType says what a GSIRoute leads to.
type RouteType uint32

const (
	RouteIRQChip RouteType = 1 // KVM_IRQ_ROUTING_IRQCHIP: a pin of an interrupt controller
	RouteMSI     RouteType = 2 // KVM_IRQ_ROUTING_MSI: a message
)

// GSIRoute leads one GSI to one destination. A GSI may have a route to each
// interrupt controller, or one to a message.
type GSIRoute struct {
	GSI  uint32
	Type RouteType
	Chip IRQChipID // if Type is RouteIRQChip
	Pin  uint32    // if Type is RouteIRQChip
	MSI  MSI       // if Type is RouteMSI
}

// routingHeader is struct kvm_irq_routing without its entries.
type routingHeader struct {
	_     structs.HostLayout
	nr    uint32
	flags uint32
}

// Both structs consist of 32-bit fields, so a table is a slice of words.
const (
	routingHeaderWords = 2  // struct kvm_irq_routing
	routingEntryWords  = 12 // struct kvm_irq_routing_entry
	routingUnion       = 4  // where its union begins
)

// SetGSIRouting replaces the whole routing table, also for irqfds assigned already
// (KVM_SET_GSI_ROUTING, api.rst 4.52). CapIRQRouting reports how many GSIs there are
// room for. An empty table routes nothing.
func (m *VM) SetGSIRouting(routes []GSIRoute) error {
	table, err := encodeRoutes(routes)
	if err != nil {
		return &Error{Op: kvmSetGSIRouting.String(), Err: err}
	}
	return set(&m.handle, kvmSetGSIRouting, &table[0])
}

func encodeRoutes(routes []GSIRoute) ([]uint32, error) {
	table := make([]uint32, routingHeaderWords+len(routes)*routingEntryWords)
	table[0] = uint32(len(routes))
	for i, r := range routes {
		entry := table[routingHeaderWords+i*routingEntryWords:][:routingEntryWords]
		entry[0] = r.GSI
		entry[1] = uint32(r.Type)
		union := entry[routingUnion:]
		switch r.Type {
		case RouteIRQChip:
			union[0] = uint32(r.Chip)
			union[1] = r.Pin
		case RouteMSI:
			union[0] = uint32(r.MSI.Addr)
			union[1] = uint32(r.MSI.Addr >> 32)
			union[2] = r.MSI.Data
		default:
			return nil, unix.EINVAL
		}
	}
	return table, nil
}
