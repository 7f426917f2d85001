package debug

import (
	"govmm/gdbstub"
	"govmm/kvm"
)

// Vectors of exceptions, and bits of DR6 (Intel SDM, volume 3B, 18.2.3).
const (
	vectorDB = 1
	vectorBP = 3

	dr6Slots = 0xf
	dr6BD    = 1 << 13
	dr6BS    = 1 << 14
	dr6BT    = 1 << 15
)

// Exit is the machine's Config.Debug: it takes what is the debugger's, and gives back to the guest what is the guest's own.
func (d *Debugger) Exit(cpu int, v *kvm.VCPU, e kvm.Debug) {
	stop, ours := d.classify(cpu, v, e)
	if !ours {
		// If KVM refuses, the guest comes to the same place again.
		_ = d.giveBack(cpu, v, e)
		return
	}
	stop.CPU, stop.PC = cpu, e.PC
	d.post(stop)
	d.m.Hold()
}

// classify says what a vCPU has come to.
func (d *Debugger) classify(cpu int, v *kvm.VCPU, e kvm.Debug) (stop gdbstub.Stop, ours bool) {
	if e.Exception == vectorBP {
		return gdbstub.Stop{Reason: gdbstub.AtSoftware}, d.isPatched(v, e.PC)
	}
	if b := d.hard.hit(e.DR6); b != nil {
		return gdbstub.Stop{Reason: reasonOf(b.Kind), Addr: b.Addr}, true
	}
	return gdbstub.Stop{Reason: gdbstub.Stepped}, d.stepping[cpu] && e.DR6&dr6BS != 0
}

func reasonOf(k gdbstub.BreakKind) gdbstub.Reason {
	switch k {
	case gdbstub.WatchWrite:
		return gdbstub.AfterWrite
	case gdbstub.WatchAccess:
		return gdbstub.AfterAccess
	}
	return gdbstub.AtHardware
}

// isPatched says whether the INT3 at an address is a breakpoint of the debugger's, by whatever address that was set.
func (d *Debugger) isPatched(v *kvm.VCPU, pc uint64) bool {
	p, code, err := d.instruction(v, pc)
	return err == nil && d.soft.at(p.phys+uint64(prefixes(code)))
}

// maxInstruction is how many bytes an instruction has at most (Intel SDM, volume 2A, 2.3.11).
const maxInstruction = 15

// instruction gives the instruction at an address with what follows it, as far as that is in the same page.
func (d *Debugger) instruction(v *kvm.VCPU, pc uint64) (p page, code []byte, err error) {
	s, err := v.Sregs()
	if err != nil {
		return p, nil, err
	}
	if p, err = d.find(&s, pc); err != nil {
		return p, nil, err
	}
	code = make([]byte, min(maxInstruction, pageSize-p.phys%pageSize))
	_, err = d.m.Memory().ReadAt(code, int64(p.phys))
	return p, code, err
}

// prefixes gives how many bytes of prefixes code begins with, legacy ones and REX. Each kind may stand before an INT3 and changes nothing of it.
func prefixes(code []byte) int {
	for i, b := range code {
		switch b {
		case 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3:
			continue
		}
		if b&0xf0 != 0x40 {
			return i
		}
	}
	return len(code)
}

// post notes what is to be told. The first has the say; of others only accesses are kept.
func (d *Debugger) post(stop gdbstub.Stop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.event == nil:
		d.event = &stop
		d.news <- struct{}{} // it has room: whoever takes event away takes this too
	case stop.Reason == gdbstub.AfterWrite || stop.Reason == gdbstub.AfterAccess:
		d.late = append(d.late, stop)
	}
}

// giveBack has the guest take the exception that was meant for it.
func (d *Debugger) giveBack(cpu int, v *kvm.VCPU, e kvm.Debug) error {
	g := d.armed[cpu]
	if e.Exception == vectorBP {
		if d.vanished(v, e.PC) {
			return nil
		}
		g.Control |= kvm.GuestDebugEnable | kvm.GuestDebugInjectBP
		return v.SetGuestDebug(g)
	}
	regs, err := v.DebugRegs()
	if err != nil {
		return err
	}
	regs.DR6 = regs.DR6&^dr6Slots | e.DR6&(dr6Slots|dr6BD|dr6BS|dr6BT)
	if err := v.SetDebugRegs(regs); err != nil {
		return err
	}
	g.Control |= kvm.GuestDebugEnable | kvm.GuestDebugInjectDB
	return v.SetGuestDebug(g)
}

// vanished says whether the guest's INT3 is not there any more, as when another vCPU has finished changing the text meanwhile. The
// exception could not be told from one at whatever stands there now; the guest is to execute that.
func (d *Debugger) vanished(v *kvm.VCPU, pc uint64) bool {
	_, code, err := d.instruction(v, pc)
	n := prefixes(code)
	return err == nil && n < len(code) && code[n] != int3
}
