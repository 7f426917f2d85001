// Lesson 6: Linux boots. The monitor takes a kernel's file apart, puts the pieces into the guest's memory, describes that memory, and enters the
// kernel. The guest's first process is this program again.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"time"

	"govmm/devices"
	"govmm/devices/cmos"
	"govmm/devices/i8042"
	"govmm/devices/serial"
	"govmm/examples/internal/self"
	"govmm/examples/internal/vm"
	"govmm/kvm"
)

const (
	ramSize     = 256 << 20
	paramsAddr  = 0x7000                       // boot_params, "the zero page"
	cmdlineAddr = 0x20000                      // where the rest is, the kernel's file says, or boot_params
	cmdline     = "console=ttyS0 panic=-1\x00" // messages to the serial port; reset at once after a panic
)

func main() {
	log.SetFlags(0)
	if self.InGuest() {
		fmt.Printf("hello from process %d of Linux %s\n", os.Getpid(), self.KernelVersion())
		log.Fatal(self.Reset())
	}
	if len(os.Args) != 2 {
		log.Fatal("usage: 06-bzimage KERNEL")
	}
	kernel, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	initrd, err := self.Archive()
	if err != nil {
		log.Fatal(err)
	}
	if err := run(kernel, initrd, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(kernel, initrd []byte, out io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m, err := vm.New(ramSize)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := errors.Join(m.CreateIRQChip(), m.CreatePIT2(0)); err != nil { // lesson 4
		return err
	}
	entry, err := load(m, kernel, initrd)
	if err != nil {
		return err
	}
	cpu, err := m.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := errors.Join(identify(m, cpu), vm.LongMode(m, cpu, kvm.Regs{RIP: entry, RSI: paramsAddr})); err != nil {
		return err
	}

	reset := false
	ports := devices.NewBus("ports", 1<<16)
	if err := errors.Join(
		ports.Add(0x3f8, serial.Ports, "serial", serial.New(serial.Config{Out: out, IRQ: vm.Line{VM: m, Number: 4}})), // lesson 5
		ports.Add(0x60, 5, "keyboard", i8042.New(func() { reset = true })),                                            // a PC's way to reset itself
		ports.Add(0x70, 2, "clock", cmos.New(cmos.Config{Now: time.Now})),
	); err != nil {
		return err
	}
	return vm.Loop(cpu, func(exit *kvm.Exit) (bool, error) {
		switch exit.Reason {
		case kvm.ExitIO:
			if io := exit.IO(); io.Write {
				ports.Write(uint64(io.Port), io.Data)
			} else {
				ports.Read(uint64(io.Port), io.Data) // all ones where nothing is
			}
		case kvm.ExitMMIO:
			if a := exit.MMIO(); !a.Write {
				copy(a.Data, "\xff\xff\xff\xff\xff\xff\xff\xff") // the same
			}
		default:
			return false, fmt.Errorf("the guest has stopped: %v", exit)
		}
		return reset, nil
	})
}

// load puts the kernel and all that it is to find into memory, and says where it is entered.
func load(m *vm.VM, image, initrd []byte) (entry uint64, err error) {
	if len(image) < 4096 || string(image[0x202:0x206]) != "HdrS" {
		return 0, errors.New("this is no bzImage")
	}
	setup := (int(image[0x1f1]) + 1) * 512                  // setup_sects, and the boot sector: code for a BIOS, which is not needed here
	kernelAddr := binary.LittleEndian.Uint64(image[0x258:]) // pref_address
	initrdAddr := uint64(ramSize-len(initrd)) &^ 4095       // the end of memory is far from everything

	return kernelAddr + 0x200, errors.Join(
		m.Load(kernelAddr, image[setup:]),
		m.Load(initrdAddr, initrd),
		m.Load(cmdlineAddr, []byte(cmdline)),
		m.Load(paramsAddr, bootParams(image, initrdAddr, len(initrd))))
}

// identify says what CPUID tells the guest of its processor: what this host's KVM can do.
func identify(m *vm.VM, cpu *kvm.VCPU) error {
	cpuid, err := m.Device.SupportedCPUID()
	if err != nil {
		return err
	}
	for i := range cpuid {
		if e := &cpuid[i]; e.Function == 1 {
			e.EBX &= 0xffffff // its number is 0
			e.ECX |= 1 << 31  // there is a hypervisor: Linux then looks for KVM's clock
		}
	}
	return cpu.SetCPUID2(cpuid)
}
