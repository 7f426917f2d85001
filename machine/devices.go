package machine

import (
	"fmt"
	"sync"
	"time"

	"govmm/devices"
	"govmm/devices/cmos"
	"govmm/devices/debugexit"
	"govmm/devices/i8042"
	"govmm/devices/markport"
	"govmm/devices/pm"
	"govmm/devices/serial"
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

// lineIRQ makes the line of a device, which has that name on its bus.
func (m *Machine) lineIRQ(device string, gsi uint32) devices.IRQ {
	return m.tracer.line(&lineIRQ{vm: m.vm, gsi: gsi}, device, gsi)
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
	m.tracer = m.newTracer()
	if err := m.addPlatform(); err != nil {
		return err
	}
	add := m.addVirtioMMIO
	if m.cfg.Transport == PCI {
		add = m.addVirtioPCI
	}
	for i, d := range m.cfg.Devices {
		if err := add(i, d); err != nil {
			return fmt.Errorf("virtio device %d: %w", i, err)
		}
	}
	m.tracer.platform(m.pio, m.mmio)
	return nil
}

// addPlatform adds what every machine has.
func (m *Machine) addPlatform() error {
	reset := func() { m.end(Outcome{Reason: Reset}, nil) }
	m.uart = serial.New(serial.Config{Out: m.cfg.console(), IRQ: m.lineIRQ("serial", serialIRQ), Log: m.log})
	power := pm.New(pm.Config{
		SCI:         m.lineIRQ("pm1 event", sciIRQ),
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
	}
	resetRegister := pm.NewResetRegister(reset)
	if m.cfg.Transport == PCI {
		// PCI's configuration ports are all around the register's.
		if err := m.addPCI(resetRegister); err != nil {
			return err
		}
	} else if err := m.pio.Add(resetPort, 1, "reset", resetRegister); err != nil {
		return err
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
