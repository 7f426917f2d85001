package kvm_test

import (
	"fmt"
	"log"

	"golang.org/x/sys/unix"

	"govmm/kvm"
)

// A monitor in one function: it gives a processor eleven bytes of code, which add two
// numbers and write the sum to the serial port, and carries the guest's output to its own.
func Example() {
	code := []byte{
		0xb0, 0x02, // mov al, 2
		0x04, 0x02, // add al, 2
		0x04, '0', // add al, '0'
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee, // out dx, al
		0xf4, // hlt
	}

	dev, err := kvm.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	vm, err := dev.CreateVM()
	if err != nil {
		log.Fatal(err)
	}
	defer vm.Close()
	// Without it Intel processors do not run real mode.
	if err := vm.SetTSSAddr(0xfffbd000); err != nil {
		log.Fatal(err)
	}

	// One page of memory, at address 0, with the code in it.
	ram, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Munmap(ram)
	copy(ram, code)
	if err := vm.SetMemory(kvm.MemorySlot{Mem: ram}); err != nil {
		log.Fatal(err)
	}

	// A processor begins at the top of memory, where a PC has its firmware; move it
	// to address 0.
	vcpu, err := vm.CreateVCPU(0)
	if err != nil {
		log.Fatal(err)
	}
	defer vcpu.Close()
	sregs, err := vcpu.Sregs()
	if err != nil {
		log.Fatal(err)
	}
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	if err := vcpu.SetSregs(sregs); err != nil {
		log.Fatal(err)
	}
	if err := vcpu.SetRegs(kvm.Regs{RFLAGS: 2}); err != nil {
		log.Fatal(err)
	}

	for {
		exit, err := vcpu.Run()
		if err != nil {
			log.Fatal(err)
		}
		switch exit.Reason {
		case kvm.ExitIO:
			if io := exit.IO(); io.Write && io.Port == 0x3f8 {
				fmt.Printf("%s\n", io.Data)
			}
		case kvm.ExitHlt:
			return
		case kvm.ExitIntr: // a signal; nobody wants anything of this loop
		default:
			log.Fatal(exit)
		}
	}
}
