package machine

import (
	"errors"
	"os"
	"sync"

	"govmm/devices"
	"govmm/devices/eventfd"
	"govmm/devices/pci"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiopci"
	"govmm/kvm"
)

// A transport is a virtio device with its registers.
type transport interface {
	devices.Snapshotter
	Pause() error
	Resume() error
	Close() error
}

var (
	pciMemory = pci.Range{Base: pciMemoryBase, Size: pciMemorySize}
	pciPorts  = pci.Range{Base: pciPortsBase, Size: pciPortsSize}
)

// addPCI adds the host bridge.
func (m *Machine) addPCI(reset devices.Handler) (err error) {
	m.msis = &msiRouter{vm: m.vm, routes: pinRoutes()}
	m.onClose(m.closeEvents)
	m.pci, err = pci.NewRoot(pci.RootConfig{Memory: m.mmio, Ports: m.pio, MemoryWindow: pciMemory, PortsWindow: pciPorts})
	if err != nil {
		return err
	}
	if err := m.pio.Add(pciConfigPort, pci.ConfigPortsSize, "PCI configuration", m.pci.ConfigPorts(reset)); err != nil {
		return err
	}
	return m.mmio.Add(ecamBase, pci.ECAMSize, "ECAM", m.pci.ECAM())
}

// addVirtioPCI puts device number i onto the PCI bus.
func (m *Machine) addVirtioPCI(i int, dev virtio.Device) error {
	t, err := virtiopci.New(virtiopci.Config{
		Name: virtioName(i), Device: dev, Memory: m.ram, WatchDoorbell: m.watchDoorbell, Tracer: m.tracer.virtio(i), Log: m.log,
		Vectors: func(n int) []pci.Vector { return m.tracer.vectors(i, m.newVectors(n)) },
	})
	if err != nil {
		return err
	}
	m.keepTransport(t)
	_, err = m.pci.Add(t.Function())
	return err
}

// watchDoorbell makes a doorbell an ioeventfd, or no longer one.
func (m *Machine) watchDoorbell(space pci.Space, addr uint64, event *eventfd.Event, on bool) error {
	// A port's width is in the instruction that KVM sees anyway. In memory any width does, for then
	// KVM on Intel's processors need not decode the instruction.
	bell := kvm.IOEventFD{FD: event.FD(), Addr: addr, Len: 2, PIO: true}
	if space == pci.Memory {
		bell.Len, bell.PIO = 0, false
	}
	if on {
		return m.vm.AssignIOEventFD(bell)
	}
	return m.vm.DeassignIOEventFD(bell)
}

// addVirtioMMIO puts device number i behind a virtio-mmio transport: its interrupt is
// an irqfd, its doorbells are ioeventfds, so neither needs the vCPU's thread.
func (m *Machine) addVirtioMMIO(i int, dev virtio.Device) error {
	irq, err := eventfd.New()
	if err != nil {
		return err
	}
	m.onClose(irq.Close)
	if err := m.vm.AssignIRQFD(irq.FD(), virtioGSIs[i]); err != nil {
		return err
	}
	t, err := virtiommio.New(virtiommio.Config{
		Device: dev, Memory: m.ram, IRQ: m.tracer.line(irq, virtioName(i), virtioGSIs[i]), Tracer: m.tracer.virtio(i), Log: m.log,
	})
	if err != nil {
		return err
	}
	m.keepTransport(t)
	base := virtioAddr(i)
	if err := m.mmio.Add(base, virtiommio.RegionSize, virtioName(i), t); err != nil {
		return err
	}
	for _, d := range t.Doorbells() {
		bell := kvm.IOEventFD{FD: d.Event.FD(), Addr: base + d.Offset, Len: uint32(d.Size), Match: true, Value: d.Value}
		if err := m.vm.AssignIOEventFD(bell); err != nil {
			return err
		}
	}
	return nil
}

func virtioAddr(i int) uint64 { return virtioMMIOBase + uint64(i)*virtiommio.RegionSize }

// keepTransport sees to it that t is closed with the machine.
func (m *Machine) keepTransport(t transport) {
	m.transports = append(m.transports, t)
	m.onClose(func() error {
		if err := t.Close(); !errors.Is(err, os.ErrClosed) {
			return err
		}
		return nil // by Run, which saw what it gave
	})
}

// stopTransports ends the virtio devices, all at once, and waits for their requests.
func (m *Machine) stopTransports() {
	var stopped sync.WaitGroup
	for i, t := range m.transports {
		stopped.Go(func() {
			if err := t.Close(); err != nil {
				m.log.Warn("virtio device did not stop cleanly", "device", i, "err", err)
			}
		})
	}
	stopped.Wait()
}
