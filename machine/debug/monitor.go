package debug

import (
	"fmt"
	"strconv"
	"strings"

	"govmm/kvm"
)

const monitorHelp = `translate ADDRESS  the guest-physical address of a virtual one, on the current processor
kernel             where the kernel is mapped, and how far that is from where it was linked
info version       what this is
help               these lines
`

// Monitor implements gdbstub.Target.
func (d *Debugger) Monitor(cpu int, command string) string {
	words := strings.Fields(command)
	switch {
	case len(words) == 2 && words[0] == "translate":
		return d.monitorTranslate(cpu, words[1])
	case len(words) == 1 && words[0] == "kernel":
		return d.monitorKernel()
	case len(words) == 2 && words[0] == "info" && words[1] == "version":
		return d.version + "\n" // Linux's scripts for gdb ask it to know that processors are threads
	case len(words) == 0, words[0] == "help":
		return monitorHelp
	}
	return fmt.Sprintf("%q is not known; there are:\n%s", command, monitorHelp)
}

func (d *Debugger) monitorTranslate(cpu int, text string) string {
	addr, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return fmt.Sprintf("%q is no address; write it as 0xffffffff81000000\n", text)
	}
	s, err := d.sregs(cpu)
	if err != nil {
		return err.Error() + "\n"
	}
	p, err := walk(d.m.Memory(), &s, addr)
	switch {
	case err != nil:
		return fmt.Sprintf("%#x is not mapped\n", addr)
	case p.noExecute:
		return fmt.Sprintf("%#x is at %#x, not executable\n", addr, p.phys)
	}
	return fmt.Sprintf("%#x is at %#x\n", addr, p.phys)
}

func (d *Debugger) monitorKernel() string {
	m := d.m.KernelMapping()
	switch {
	case m.Size == 0:
		return "the kernel unpacks itself, and may have chosen another place than it was linked for; nokaslr on its command line has it stay\n"
	case m.Delta == 0:
		return fmt.Sprintf("the kernel is mapped where it was linked, at %#x, and is at %#x\n", m.Virt, m.Phys)
	}
	return fmt.Sprintf("the kernel is mapped at %#x, which is %#x higher than linked, and is at %#x; its symbols: symbol-file -o %#x vmlinux\n", m.Virt, m.Delta, m.Phys, m.Delta)
}

// Describe implements gdbstub.Target.
func (d *Debugger) Describe(cpu int) string {
	var mp kvm.MPState
	if err := d.m.OnVCPU(cpu, func(v *kvm.VCPU) (err error) { mp, err = v.MPState(); return err }); err != nil {
		return "unknown"
	}
	switch mp {
	case kvm.MPRunnable:
		return "running"
	case kvm.MPHalted:
		return "halted"
	}
	return "not started"
}
