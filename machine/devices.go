package machine

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"govmm/devices"
	"govmm/devices/cmos"
	"govmm/devices/debugexit"
	"govmm/devices/eventfd"
	"govmm/devices/i8042"
	"govmm/devices/markport"
	"govmm/devices/pm"
	"govmm/devices/serial"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/kvm"
)

// lineIRQ is an edge on a pin of the interrupt controllers, made by two ioctls. The
// devices of the ISA bus use it: it is delivered before the exit that caused it
// ends, where an irqfd on a pin goes through a kernel worker.
type lineIRQ struct {
	mu  sync.Mutex // an edge is both ioctls; two that mix would be one
	vm  *kvm.VM
	gsi uint32
}

func (l *lineIRQ) Trigger() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.vm.SetIRQLine(l.gsi, true); err != nil {
		return err
	}
	return l.vm.SetIRQLine(l.gsi, false)
}

// addDevices fills the two buses. Both are complete before a vCPU runs.
func (m *Machine) addDevices() error {
	m.pio = devices.NewBus("PIO", 1<<16)
	m.mmio = devices.NewBus("MMIO", 0) // no limit: all 64 bits
	if err := m.addPlatform(); err != nil {
		return err
	}
	for i, d := range m.cfg.Devices {
		if err := m.addVirtio(i, d); err != nil {
			return fmt.Errorf("virtio device %d: %w", i, err)
		}
	}
	return nil
}

// addPlatform adds what every machine has.
func (m *Machine) addPlatform() error {
	reset := func() { m.end(Outcome{Reason: Reset}, nil) }
	m.uart = serial.New(serial.Config{Out: m.cfg.console(), IRQ: &lineIRQ{vm: m.vm, gsi: serialIRQ}, Log: m.log})
	power := pm.New(pm.Config{
		SCI:         &lineIRQ{vm: m.vm, gsi: sciIRQ},
		S5SleepType: s5SleepType,
		PowerOff:    func() { m.end(Outcome{Reason: PowerOff}, nil) },
		Log:         m.log,
	})
	ports := []struct {
		base, size uint64
		name       string
		handler    devices.Handler
	}{
		{serialPort, 8, "serial", m.uart},
		{i8042Port, 5, "i8042", i8042.New(reset)},
		{rtcPort, 2, "cmos", cmos.New(cmos.Config{Now: time.Now})},
		{pm1EventPort, pm.EventPorts, "pm1 event", power.Event()},
		{pm1ControlPort, pm.ControlPorts, "pm1 control", power.Control()},
		{resetPort, 1, "reset", pm.NewResetRegister(reset)},
	}
	for _, p := range ports {
		if err := m.pio.Add(p.base, p.size, p.name, p.handler); err != nil {
			return err
		}
	}
	if m.cfg.Timeline != nil {
		if err := m.pio.Add(MarkPort, 1, "mark", markport.New(m.cfg.Timeline.guestMark)); err != nil {
			return err
		}
	}
	if !m.cfg.DebugExit {
		return nil
	}
	port := debugexit.New(func(v uint32) { m.end(Outcome{Reason: DebugExit, Code: v}, nil) })
	return m.pio.Add(debugExitPort, 4, "debug exit", port)
}

// addVirtio puts device number i behind a virtio-mmio transport: its interrupt is
// an irqfd, its doorbells are ioeventfds, so neither needs the vCPU's thread.
func (m *Machine) addVirtio(i int, dev virtio.Device) error {
	irq, err := eventfd.New()
	if err != nil {
		return err
	}
	m.onClose(irq.Close)
	if err := m.vm.AssignIRQFD(irq.FD(), virtioGSIs[i]); err != nil {
		return err
	}
	t, err := virtiommio.New(virtiommio.Config{Device: dev, Memory: m.ram, IRQ: irq, Log: m.log})
	if err != nil {
		return err
	}
	m.transports = append(m.transports, t)
	m.onClose(func() error {
		if err := t.Close(); !errors.Is(err, os.ErrClosed) {
			return err
		}
		return nil // by Run, which saw what it gave
	})
	base := virtioAddr(i)
	if err := m.mmio.Add(base, virtiommio.RegionSize, fmt.Sprintf("virtio%d", i), t); err != nil {
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

// stopTransports ends the virtio devices and waits for their requests.
func (m *Machine) stopTransports() {
	for i, t := range m.transports {
		if err := t.Close(); err != nil {
			m.log.Warn("virtio device did not stop cleanly", "device", i, "err", err)
		}
	}
}
