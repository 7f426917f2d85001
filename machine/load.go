package machine

import (
	"fmt"
	"runtime/debug"

	"govmm/bootimage"
	"govmm/devices/pm"
	"govmm/machine/acpi"
	"govmm/machine/memory"
)

// load writes the ACPI tables, the kernel, what belongs to it and the boot
// processor's tables into RAM.
func (m *Machine) load() (bootimage.Entry, error) {
	tables, err := acpi.Build(m.acpiConfig())
	if err != nil {
		return bootimage.Entry{}, err
	}
	if _, err := m.ram.WriteAt(tables.Data, acpiBase); err != nil {
		return bootimage.Entry{}, fmt.Errorf("ACPI tables: %w", err)
	}
	plan, err := m.plan(tables.RSDP)
	if err != nil {
		return bootimage.Entry{}, err
	}
	return plan.Entry, prepareEntry(m.ram, plan.Entry)
}

// plan makes the boot plan and carries it out. The images are foreign mappings:
// touching one whose file has shrunk raises SIGBUS, which SetPanicOnFault turns into
// a panic of this goroutine and recover into an error.
func (m *Machine) plan(rsdp uint64) (plan *bootimage.Plan, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = fmt.Errorf("the kernel or initrd changed on disk while it was read")
		}
	}()
	plan = m.cfg.Image
	if plan == nil {
		if plan, err = m.linuxPlan(rsdp); err != nil {
			return nil, err
		}
	}
	for _, s := range plan.Segments {
		if _, err := m.ram.WriteAt(s.Data, int64(s.Addr)); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		m.log.Debug("loaded", "what", s.Name, "addr", fmt.Sprintf("%#x", s.Addr), "bytes", len(s.Data))
	}
	return plan, nil
}

// A LoadError says why a kernel cannot be booted, or not with this initrd, command line
// or size of RAM. Err is a line that reads well behind the name of the kernel's file.
type LoadError struct{ Err error }

func (e *LoadError) Error() string { return "kernel: " + e.Err.Error() }
func (e *LoadError) Unwrap() error { return e.Err }

func (m *Machine) linuxPlan(rsdp uint64) (*bootimage.Plan, error) {
	ranges := make([]memory.Range, 0, 2)
	for _, r := range m.ram.Regions() {
		ranges = append(ranges, memory.Range{Base: r.Base, Size: uint64(len(r.Data))})
	}
	table, err := e820(ranges)
	if err != nil {
		return nil, err
	}
	plan, err := bootimage.Load(m.cfg.Kernel, bootimage.Params{
		Cmdline: m.cfg.cmdline(), Initrd: m.cfg.Initrd, Memory: table, RSDP: rsdp,
	})
	if err != nil {
		return nil, &LoadError{err}
	}
	m.log.Debug("kernel", "kind", plan.Kind, "version", plan.Version, "entry", fmt.Sprintf("%#x", plan.Entry.PC))
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
	for i := range m.transports {
		c.VirtioMMIO = append(c.VirtioMMIO, acpi.MMIO{Base: virtioAddr(i), Size: 0x1000, GSI: virtioGSIs[i]})
	}
	return c
}
