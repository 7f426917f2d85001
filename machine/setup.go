package machine

import (
	"fmt"

	"govmm/bootimage"
	"govmm/kvm"
)

// Model-specific registers that firmware would have set (Intel SDM, volume 4).
const (
	msrMiscEnable = 0x1a0
	msrMTRRDef    = 0x2ff

	miscEnableFastString = 1 << 0
	mtrrEnable           = 1 << 11
	mtrrWriteBack        = 6
)

// addVCPUs starts the vCPUs' goroutines and waits until each has made its vCPU.
// All but the first stay as KVM makes them where it has the local APICs: waiting for the INIT
// and start-up IPIs that the guest sends.
func (m *Machine) addVCPUs() error {
	cpuid, err := m.dev.SupportedCPUID()
	if err != nil {
		return err
	}
	deadline, err := m.dev.Check(kvm.CapTSCDeadlineTimer)
	if err != nil {
		return err
	}
	m.first = bootState{cpuid: addBrand(cpuid), tscDeadline: deadline > 0}
	ready := make(chan error)
	for id := range m.cfg.cpus() {
		v := &vcpu{id: id, m: m}
		if m.tracer != nil {
			v.ring = m.cfg.Trace.CPU(id)
		}
		m.vcpusDone.Add(1)
		go v.live(ready)
		// In turn, because KVM serializes the creation anyway.
		if err := <-ready; err != nil {
			return fmt.Errorf("vCPU %d: %w", id, err)
		}
		m.vcpus = append(m.vcpus, v) // whole, and so ready for a kick
	}
	return nil
}

// bootState is what the vCPUs' first states are made from.
type bootState struct {
	entry       bootimage.Entry // set once the kernel is loaded, before the start
	cpuid       []kvm.CPUIDEntry
	tscDeadline bool
}

// setUpVCPU creates v's vCPU and gives it its first state. On v's thread.
func (m *Machine) setUpVCPU(v *vcpu) error {
	cpu, err := m.vm.CreateVCPU(v.id)
	if err != nil {
		return err
	}
	v.cpu = cpu
	m.onClose(cpu.Close)
	if err := cpu.SetCPUID2(cpuidFor(m.first.cpuid, v.id, m.cfg.cpus(), m.first.tscDeadline)); err != nil {
		return err
	}
	misc, err := cpu.MSRs([]uint32{msrMiscEnable})
	if err != nil {
		return err
	}
	msrs := []kvm.MSREntry{
		// KVM's own bits stay: on Intel they tell what of the PMU is there.
		{Index: msrMiscEnable, Data: misc[0].Data | miscEnableFastString},
		// Without it Linux believes that firmware forgot the memory types.
		{Index: msrMTRRDef, Data: mtrrEnable | mtrrWriteBack},
	}
	return cpu.SetMSRs(msrs)
}

// setEntry gives the boot processor the registers with which the kernel is entered. On its thread.
func (m *Machine) setEntry(cpu *kvm.VCPU) error {
	sregs, err := cpu.Sregs()
	if err != nil {
		return err
	}
	regs, sregs, err := enter(m.first.entry, sregs)
	if err != nil {
		return err
	}
	if err := cpu.SetSregs(sregs); err != nil {
		return err
	}
	return cpu.SetRegs(regs)
}

// checkHostLimits compares the configuration with what this host can give.
func (m *Machine) checkHostLimits() error {
	most, err := m.dev.Check(kvm.CapMaxVCPUs)
	if err != nil {
		return err
	}
	if n := m.cfg.cpus(); most > 0 && n > most {
		return configFault("CPUs", "%d are more than the %d that this host's KVM allows", n, most)
	}
	cpuid, err := m.dev.SupportedCPUID()
	if err != nil {
		return err
	}
	bits := physicalAddressBits(cpuid)
	if top := m.cfg.memory() + (holeEnd - holeStart); top > 1<<bits {
		return configFault("Memory", "%dM do not fit the %d-bit physical addresses of this host's processor", m.cfg.memory()>>20, bits)
	}
	return nil
}

// physicalAddressBits is CPUID 0x8000_0008 EAX[7:0]; 36 is what a processor without the leaf has.
func physicalAddressBits(cpuid []kvm.CPUIDEntry) uint {
	for _, e := range cpuid {
		if e.Function == leafAMDAddrSizes {
			return uint(e.EAX & 0xff)
		}
	}
	return 36
}
