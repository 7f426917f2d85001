// Package vm is what lesson 1 does in run, taken apart so that the other lessons need not repeat it: a machine with memory, the registers
// with which a processor begins, and the loop that runs it.
package vm

import (
	"errors"
	"runtime"

	"govmm/kvm"
	"govmm/machine/memory"
)

// A VM is a virtual machine with memory from address 0 on. What kvm.VM can do it can do too: interrupt controllers, processors.
type VM struct {
	*kvm.VM
	Device *kvm.Device    // /dev/kvm, to ask what the host can do
	RAM    *memory.Memory // the guest's memory, with every access checked
}

// New makes a machine with size bytes of memory, a multiple of 4096.
func New(size uint64) (*VM, error) {
	dev, err := kvm.Open()
	if err != nil {
		return nil, err
	}
	machine, err := dev.CreateVM()
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	ram, err := memory.New([]memory.Range{{Base: 0, Size: size}})
	if err != nil {
		return nil, errors.Join(err, machine.Close(), dev.Close())
	}
	m := &VM{VM: machine, Device: dev, RAM: ram}
	if err := m.setUp(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *VM) setUp() error {
	// Intel processors need a few pages of the guest's addresses to run without paging; any that nobody uses do.
	if err := m.SetIdentityMapAddr(0xfffbc000); err != nil {
		return err
	}
	if err := m.SetTSSAddr(0xfffbd000); err != nil {
		return err
	}
	return m.SetMemory(kvm.MemorySlot{GuestPhys: 0, Mem: m.RAM.Regions()[0].Data})
}

// Load copies code or data into the guest's memory.
func (m *VM) Load(addr uint64, data []byte) error {
	_, err := m.RAM.WriteAt(data, int64(addr))
	return err
}

// Close gives everything back. The processors are to be closed before.
func (m *VM) Close() error { return errors.Join(m.VM.Close(), m.RAM.Close(), m.Device.Close()) }

// Run makes a machine with one processor, has prepare fill its memory and registers, and runs it (Loop).
func Run(size uint64, prepare func(*VM, *kvm.VCPU) error, handle func(*kvm.Exit) (done bool, err error)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m, err := New(size)
	if err != nil {
		return err
	}
	defer m.Close()
	cpu, err := m.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := prepare(m, cpu); err != nil {
		return err
	}
	return Loop(cpu, handle)
}

// Loop runs the processor, on the thread to which the caller is locked, and hands each exit to handle until that says that it is done.
// What a signal causes is no exit of the guest's, and not handed on.
func Loop(cpu *kvm.VCPU, handle func(*kvm.Exit) (done bool, err error)) error {
	for {
		exit, err := cpu.Run()
		if err != nil {
			return err
		}
		if exit.Reason == kvm.ExitIntr {
			continue
		}
		if done, err := handle(exit); done || err != nil {
			return err
		}
	}
}
