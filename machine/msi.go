package machine

import (
	"slices"
	"sync"

	"govmm/devices/eventfd"
	"govmm/devices/pci"
	"govmm/kvm"
)

// Pins of the interrupt controllers, which are the GSIs of the same numbers.
const (
	picPins    = 8 // of each of the two
	ioapicPins = 24
)

// pinRoutes returns the routes that KVM has by itself, and that a new routing table must repeat.
func pinRoutes() []kvm.GSIRoute {
	var routes []kvm.GSIRoute
	for gsi := range uint32(ioapicPins) {
		switch {
		case gsi < picPins:
			routes = append(routes, kvm.GSIRoute{GSI: gsi, Type: kvm.RouteIRQChip, Chip: kvm.PICMaster, Pin: gsi})
		case gsi < 2*picPins:
			routes = append(routes, kvm.GSIRoute{GSI: gsi, Type: kvm.RouteIRQChip, Chip: kvm.PICSlave, Pin: gsi - picPins})
		}
		routes = append(routes, kvm.GSIRoute{GSI: gsi, Type: kvm.RouteIRQChip, Chip: kvm.IOAPICChip, Pin: gsi})
	}
	return routes
}

// An msiRouter has the VM's routing table: the pins, and a GSI for each vector that a driver has used.
type msiRouter struct {
	vm *kvm.VM

	mu     sync.Mutex
	routes []kvm.GSIRoute
	used   int // vectors that have a GSI
}

// route leads the GSI of v, which gets one if it has none, to a message.
func (r *msiRouter) route(v *msiVector, msg pci.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	routes := slices.Clone(r.routes)
	gsi, at := v.gsi, v.route
	if at == 0 {
		gsi, at = uint32(ioapicPins+r.used), len(routes)
		routes = append(routes, kvm.GSIRoute{GSI: gsi, Type: kvm.RouteMSI})
	}
	routes[at].MSI = kvm.MSI{Addr: msg.Addr, Data: msg.Data}
	if err := r.vm.SetGSIRouting(routes); err != nil {
		return err // too many, for one
	}
	if v.route == 0 {
		r.used++
	}
	r.routes, v.gsi, v.route = routes, gsi, at
	return nil
}

// An msiVector is a pci.Vector: an irqfd on a GSI whose route is the message. It costs nothing before a driver has
// set a message. package pci calls SetMessage and Trigger never at the same time.
type msiVector struct {
	router *msiRouter
	event  *eventfd.Event // nil before the first message
	gsi    uint32
	route  int // index in the router's table; 0, which is a pin's, if it has none
	opened func(*eventfd.Event)
}

// newVectors implements virtiopci.Config.Vectors.
func (m *Machine) newVectors(n int) []pci.Vector {
	vectors := make([]pci.Vector, n)
	own := make([]msiVector, n)
	for i := range vectors {
		own[i] = msiVector{router: m.msis, opened: m.keepEvent}
		vectors[i] = &own[i]
	}
	return vectors
}

func (v *msiVector) SetMessage(msg pci.Message) error {
	if err := v.router.route(v, msg); err != nil || v.event != nil {
		return err
	}
	e, err := eventfd.New()
	if err != nil {
		return err
	}
	if err := v.router.vm.AssignIRQFD(e.FD(), v.gsi); err != nil {
		e.Close()
		return err
	}
	v.opened(e)
	v.event = e
	return nil
}

// Trigger implements devices.IRQ. Without an event SetMessage failed, and said so.
func (v *msiVector) Trigger() error {
	if v.event == nil {
		return nil
	}
	return v.event.Signal()
}

// keepEvent sees to it that e is closed with the machine. vCPUs call it.
func (m *Machine) keepEvent(e *eventfd.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// closeEvents closes the irqfds of message-signalled interrupts.
func (m *Machine) closeEvents() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		e.Close()
	}
	return nil
}
