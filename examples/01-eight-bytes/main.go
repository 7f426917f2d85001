// Lesson 1: the smallest virtual machine. A processor, one page of memory, and eight bytes of code that add two numbers.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"govmm/kvm"
)

// The guest, at address 0. The numbers are in AL and BL when it starts.
var guest = []byte{
	0x00, 0xd8, // add al, bl
	0x04, '0', // add al, '0'
	0xe6, port, // out port, al
	0xfa, // cli: no interrupts, so that the next is for ever
	0xf4, // hlt
}

// port is where the guest says its result: the debug port of the emulator Bochs. On a real PC nothing is there.
const port = 0xe9

func main() {
	log.SetFlags(0)
	var a, b uint64
	if len(os.Args) != 3 || scan(os.Args[1], &a) != nil || scan(os.Args[2], &b) != nil {
		log.Fatal("usage: 01-eight-bytes NUMBER NUMBER")
	}
	if err := run(guest, a, b, os.Stdout); err != nil {
		log.Fatal(err)
	}
	fmt.Println()
}

func scan(s string, n *uint64) error { _, err := fmt.Sscan(s, n); return err }

// run runs code with a in RAX and b in RBX until it halts, and writes what it says to out.
func run(code []byte, a, b uint64, out io.Writer) error {
	// KVM wants all calls about a virtual processor from the same thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	dev, err := kvm.Open() // open("/dev/kvm")
	if err != nil {
		return err
	}
	defer dev.Close()
	vm, err := dev.CreateVM() // KVM_CREATE_VM: an empty machine, no processor, no memory
	if err != nil {
		return err
	}
	defer vm.Close()
	// Intel processors need three pages of the guest's addresses to run real mode; any that nobody uses do.
	if err := vm.SetTSSAddr(0xfffbd000); err != nil {
		return err
	}

	// Memory of this process becomes the guest's memory at address 0.
	ram, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(ram)
	copy(ram, code)
	if err := vm.SetMemory(kvm.MemorySlot{GuestPhys: 0, Mem: ram}); err != nil {
		return err
	}

	vcpu, err := vm.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer vcpu.Close()
	if err := setRegisters(vcpu, a, b); err != nil {
		return err
	}
	return loop(vcpu, out)
}

// setRegisters has the processor begin at address 0. By itself it begins at 0xfffffff0, where a PC has its firmware.
func setRegisters(vcpu *kvm.VCPU, a, b uint64) error {
	sregs, err := vcpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CS.Selector, sregs.CS.Base = 0, 0
	if err := vcpu.SetSregs(sregs); err != nil {
		return err
	}
	return vcpu.SetRegs(kvm.Regs{RIP: 0, RAX: a, RBX: b, RFLAGS: 1 << 1}) // bit 1 of RFLAGS is always set
}

// loop runs the guest. Whenever it does what the processor cannot do alone, Run returns and says what: an exit.
func loop(vcpu *kvm.VCPU, out io.Writer) error {
	for {
		exit, err := vcpu.Run()
		if err != nil {
			return err
		}
		switch exit.Reason {
		case kvm.ExitIO:
			if io := exit.IO(); io.Write && io.Port == port {
				if _, err := out.Write(io.Data); err != nil {
					return err
				}
			}
		case kvm.ExitHlt:
			return nil
		case kvm.ExitIntr: // a signal came, one of the Go runtime's; the guest goes on
		default:
			return fmt.Errorf("the guest has stopped: %v", exit)
		}
	}
}
