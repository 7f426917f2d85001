package vm

import "govmm/kvm"

// RealMode has the processor begin in real mode, with these registers and the code segment at 0, so that RIP is an address below 64 KiB.
func RealMode(cpu *kvm.VCPU, regs kvm.Regs) error {
	return SetRegisters(cpu, regs, func(s *kvm.Sregs) { s.CS.Selector, s.CS.Base = 0, 0 })
}

// ProtectedMode has the processor begin in 32-bit protected mode without paging, with these registers: an address is what the instruction says,
// anywhere below 4 GiB. There is no table of interrupt handlers. Lesson 3 explains it.
func ProtectedMode(cpu *kvm.VCPU, regs kvm.Regs) error {
	return SetRegisters(cpu, regs, func(s *kvm.Sregs) {
		data := kvm.Segment{Selector: 0x10, Limit: 0xffffffff, Type: 3, S: 1, Present: 1, DB: 1, G: 1}
		s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
		s.CS = data
		s.CS.Selector, s.CS.Type = 0x08, 11
		s.IDT = kvm.DTable{}
		s.CR0 |= 1
	})
}

// SetRegisters sets the general-purpose registers, and what change makes of the special ones, which choose the processor's mode.
func SetRegisters(cpu *kvm.VCPU, regs kvm.Regs, change func(*kvm.Sregs)) error {
	sregs, err := cpu.Sregs()
	if err != nil {
		return err
	}
	change(&sregs)
	if err := cpu.SetSregs(sregs); err != nil {
		return err
	}
	regs.RFLAGS |= 1 << 1 // always set
	return cpu.SetRegs(regs)
}
