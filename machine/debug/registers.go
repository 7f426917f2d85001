package debug

import (
	"context"

	"govmm/gdbstub"
	"govmm/kvm"
)

const msrKernelGSBase = 0xc000_0102 // Intel SDM, volume 4, IA32_KERNEL_GS_BASE

// state is all that gdb sees of a vCPU, as KVM has it.
type state struct {
	regs   kvm.Regs
	sregs  kvm.Sregs
	fpu    kvm.FPU
	kernel uint64 // GS base
}

func readState(v *kvm.VCPU) (s state, err error) {
	if s.regs, err = v.Regs(); err != nil {
		return s, err
	}
	if s.sregs, err = v.Sregs(); err != nil {
		return s, err
	}
	if s.fpu, err = v.FPU(); err != nil {
		return s, err
	}
	msrs, err := v.MSRs([]uint32{msrKernelGSBase})
	if err == nil {
		s.kernel = msrs[0].Data
	}
	return s, err
}

// write sets what differs from old. To set the general registers drops an exception that is on its way, so nothing is set in vain.
func (s *state) write(v *kvm.VCPU, old *state) error {
	if s.regs != old.regs {
		if err := v.SetRegs(s.regs); err != nil {
			return err
		}
	}
	if s.sregs != old.sregs {
		if err := v.SetSregs(s.sregs); err != nil {
			return gdbstub.EINVAL
		}
	}
	if s.fpu != old.fpu {
		if err := v.SetFPU(s.fpu); err != nil {
			return err
		}
	}
	if s.kernel == old.kernel {
		return nil
	}
	return v.SetMSRs([]kvm.MSREntry{{Index: msrKernelGSBase, Data: s.kernel}})
}

// Registers implements gdbstub.Target.
func (d *Debugger) Registers(cpu int) (*gdbstub.Registers, error) {
	var s state
	err := d.m.OnVCPU(cpu, func(v *kvm.VCPU) (err error) { s, err = readState(v); return err })
	if err != nil {
		return nil, d.ended(context.Background(), err)
	}
	return s.show(), nil
}

// SetRegisters implements gdbstub.Target. Selectors and MXCSR stay: with the selectors would go the descriptors.
func (d *Debugger) SetRegisters(cpu int, r *gdbstub.Registers) error {
	err := d.m.OnVCPU(cpu, func(v *kvm.VCPU) error {
		old, err := readState(v)
		if err != nil {
			return err
		}
		s := old
		s.take(r)
		return s.write(v, &old)
	})
	return d.ended(context.Background(), err)
}

// general gives the general registers in gdb's order.
func general(r *kvm.Regs) [16]*uint64 {
	return [16]*uint64{
		&r.RAX, &r.RBX, &r.RCX, &r.RDX, &r.RSI, &r.RDI, &r.RBP, &r.RSP,
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15,
	}
}

func (s *state) show() *gdbstub.Registers {
	r := &gdbstub.Registers{RIP: s.regs.RIP, EFlags: uint32(s.regs.RFLAGS), XMM: s.fpu.XMM, MXCSR: s.fpu.MXCSR}
	for i, v := range general(&s.regs) {
		r.General[i] = *v
	}
	for i, seg := range []kvm.Segment{s.sregs.CS, s.sregs.SS, s.sregs.DS, s.sregs.ES, s.sregs.FS, s.sregs.GS} {
		r.Segment[i] = uint32(seg.Selector)
	}
	for i := range r.ST {
		copy(r.ST[i][:], s.fpu.FPR[i][:])
	}
	f := &s.fpu
	r.FPU = [8]uint32{
		uint32(f.FCW), uint32(f.FSW), fullTags(f.FTWX),
		uint32(f.LastIP >> 32), uint32(f.LastIP), uint32(f.LastDP >> 32), uint32(f.LastDP), uint32(f.LastOpcode),
	}
	r.FSBase, r.GSBase = s.sregs.FS.Base, s.sregs.GS.Base
	r.System = gdbstub.System{
		KernelGSBase: s.kernel,
		CR0:          s.sregs.CR0, CR2: s.sregs.CR2, CR3: s.sregs.CR3, CR4: s.sregs.CR4, CR8: s.sregs.CR8, EFER: s.sregs.EFER,
	}
	return r
}

// take is show's opposite.
func (s *state) take(r *gdbstub.Registers) {
	s.regs.RIP = r.RIP
	s.regs.RFLAGS = s.regs.RFLAGS&^0xffff_ffff | uint64(r.EFlags)
	for i, v := range general(&s.regs) {
		*v = r.General[i]
	}
	f := &s.fpu
	for i := range r.ST {
		copy(f.FPR[i][:], r.ST[i][:])
	}
	f.XMM = r.XMM
	f.FCW, f.FSW, f.LastOpcode = uint16(r.FPU[0]), uint16(r.FPU[1]), uint16(r.FPU[7])
	if r.FPU[2] != fullTags(f.FTWX) {
		f.FTWX = shortTags(r.FPU[2])
	}
	f.LastIP = uint64(r.FPU[3])<<32 | uint64(r.FPU[4])
	f.LastDP = uint64(r.FPU[5])<<32 | uint64(r.FPU[6])
	s.sregs.FS.Base, s.sregs.GS.Base, s.kernel = r.FSBase, r.GSBase, r.System.KernelGSBase
	y := r.System
	s.sregs.CR0, s.sregs.CR2, s.sregs.CR3, s.sregs.CR4, s.sregs.CR8, s.sregs.EFER = y.CR0, y.CR2, y.CR3, y.CR4, y.CR8, y.EFER
}

// fullTags makes the x87 tag word of two bits a register from the one of FXSAVE, which has one: 3 is empty, and all others count as valid.
func fullTags(short uint8) (full uint32) {
	for i := range 8 {
		if short&(1<<i) == 0 {
			full |= 3 << (2 * i)
		}
	}
	return full
}

func shortTags(full uint32) (short uint8) {
	for i := range 8 {
		if full>>(2*i)&3 != 3 {
			short |= 1 << i
		}
	}
	return short
}
