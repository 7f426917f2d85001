package machine

import (
	"crypto/rand"
	"fmt"

	"govmm/bootimage"
	"govmm/devices/pm"
	"govmm/machine/acpi"
	"govmm/machine/memory"
)

// loaded is what became of loading the kernel.
type loaded struct {
	images
	plan *bootimage.Plan
	err  error
}

// startLoading gets the kernel and loads it in a goroutine of its own. It uses guest RAM and the
// configuration, and no KVM.
func (m *Machine) startLoading() <-chan loaded {
	done := make(chan loaded, 1)
	go func() {
		var l loaded
		err := guardFaults(func() (err error) {
			l.images = m.getImages()
			if l.plan, err = m.load(l.images); err == nil {
				err = l.release()
			}
			return err
		})
		if err == nil {
			m.cfg.Timeline.Mark(StageLoaded)
		}
		l.err = err
		done <- l
	}()
	return done
}

// load writes the ACPI tables, the kernel, what belongs to it and the boot
// processor's tables into RAM.
func (m *Machine) load(i images) (*bootimage.Plan, error) {
	tables, err := acpi.Build(m.acpiConfig())
	if err != nil {
		return nil, err
	}
	if _, err := m.ram.WriteAt(tables.Data, acpiBase); err != nil {
		return nil, fmt.Errorf("ACPI tables: %w", err)
	}
	plan, err := m.carryOutPlan(tables.RSDP, i)
	if err != nil {
		return nil, err
	}
	return plan, prepareEntry(m.ram, plan.Entry)
}

// carryOutPlan puts the kernel and what belongs to it into RAM.
func (m *Machine) carryOutPlan(rsdp uint64, i images) (plan *bootimage.Plan, err error) {
	if plan = m.cfg.Image; plan == nil {
		if plan, err = m.plan(rsdp, i); err != nil {
			return nil, err
		}
	}
	for _, s := range plan.Segments {
		if err := m.place(s, i); err != nil {
			return nil, err
		}
	}
	if r := plan.Relocation; r != nil {
		load, err := m.ram.WriteSlice(r.Addr, r.Size)
		if err != nil {
			return nil, err
		}
		if err := r.Apply(load); err != nil {
			return nil, &LoadError{err}
		}
	}
	return plan, nil
}

// A LoadError says why a kernel cannot be booted, or not with this initrd, command line
// or size of RAM. Err is a line that reads well behind the name of the kernel's file.
type LoadError struct{ Err error }

func (e *LoadError) Error() string { return "kernel: " + e.Err.Error() }
func (e *LoadError) Unwrap() error { return e.Err }

// plan plans the boot of the configuration's kernel.
func (m *Machine) plan(rsdp uint64, i images) (*bootimage.Plan, error) {
	ranges := make([]memory.Range, 0, 2)
	for _, r := range m.ram.Regions() {
		ranges = append(ranges, memory.Range{Base: r.Base, Size: uint64(len(r.Data))})
	}
	table, err := e820(ranges)
	if err != nil {
		return nil, err
	}
	plan, err := m.linuxPlan(bootimage.Params{
		Cmdline: m.cfg.cmdline(), Initrd: m.cfg.Initrd, Memory: table, RSDP: rsdp, Random: rand.Reader,
	}, i)
	if err != nil {
		return nil, &LoadError{err}
	}
	m.log.Debug("kernel", "kind", plan.Kind, "version", plan.Version, "direct", plan.Direct, "randomized", plan.Randomized)
	return plan, nil
}

// acpiConfig describes the machine to its guest.
func (m *Machine) acpiConfig() acpi.Config {
	c := acpi.Config{
		Base: acpiBase, Limit: acpiLimit,
		LocalAPICAddr: localAPICAddr,
		IOAPIC:        acpi.IOAPIC{ID: 0, Addr: ioapicAddr},
		// None for ISA interrupt 0, which PCs have at GSI 2: KVM wires a PIT to input 0.
		// KVM pulses the SCI; ACPI's default for it would be level-triggered and active low.
		Overrides: []acpi.Override{{ISA: sciIRQ, GSI: sciIRQ, Flags: acpi.EdgeActiveHigh}},
		SCI:       sciIRQ,
		PM1Event:  pm1EventPort, PM1Control: pm1ControlPort,
		ResetPort: resetPort, ResetValue: pm.ResetValue,
		S5SleepType: s5SleepType,
		Serial:      []acpi.Serial{{Port: serialPort, Size: 8, IRQ: serialIRQ}},
		RTCPort:     rtcPort,
	}
	for id := range m.cfg.cpus() {
		c.APICIDs = append(c.APICIDs, uint32(id))
	}
	if m.cfg.Transport == PCI {
		c.PCI = &acpi.PCI{ECAM: ecamBase, Memory: acpi.Window(pciMemory), Ports: acpi.Window(pciPorts)}
		return c
	}
	for i := range m.cfg.Devices {
		c.VirtioMMIO = append(c.VirtioMMIO, acpi.MMIO{Base: virtioAddr(i), Size: 0x1000, GSI: virtioGSIs[i]})
	}
	return c
}
