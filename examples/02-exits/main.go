// Lesson 2: what makes a guest stop. It touches a port, memory that is not there, waits, and dies; then the same is measured.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"govmm/examples/internal/vm"
	"govmm/kvm"
)

// The guest, at address 0. Its memory ends at 64 KiB. It is 32-bit code (lesson 3), so that an address has four bytes, the lowest first.
var guest = []byte{
	0xb0, 'A', // mov al, 'A'
	0xe6, 0xe9, // out 0xe9, al
	0xe4, 0x60, // in al, 0x60
	0xe6, 0xe9, // out 0xe9, al
	0x66, 0xc7, 0x05, 0x00, 0x80, 0x0b, 0x00, 'B', 0x07, // mov word [0xb8000], 'B' and its color
	0xa0, 0x01, 0x80, 0x0b, 0x00, // mov al, [0xb8001]
	0xf4,       // hlt
	0x0f, 0x0b, // ud2: an instruction that does not exist. There is no handler for that, nor for the fault that this is
}

func main() {
	log.SetFlags(0)
	costs := flag.Bool("cost", false, "measure what each exit costs")
	flag.Parse()
	do := func() error { return run(guest, report(os.Stdout)) }
	if *costs {
		do = func() error { return measure(os.Stdout) }
	}
	if err := do(); err != nil {
		log.Fatal(err)
	}
}

// run runs code and hands each exit to handle, until that is done. vm.Run is what run was in lesson 1.
func run(code []byte, handle func(*kvm.Exit) (done bool, err error)) error {
	return vm.Run(64<<10, func(m *vm.VM, cpu *kvm.VCPU) error {
		if err := m.Load(0, code); err != nil {
			return err
		}
		return vm.ProtectedMode(cpu, kvm.Regs{RIP: 0})
	}, handle)
}

// report says what each exit is, and answers it.
func report(out io.Writer) func(*kvm.Exit) (bool, error) {
	return func(exit *kvm.Exit) (bool, error) {
		answer := ""
		switch exit.Reason {
		case kvm.ExitIO:
			answer = access(exit.IO().Write, exit.IO().Data)
		case kvm.ExitMMIO:
			answer = access(exit.MMIO().Write, exit.MMIO().Data)
		case kvm.ExitHlt:
			answer = "let it go on"
		case kvm.ExitShutdown:
			answer = "this is the end"
		default:
			return true, fmt.Errorf("the guest has stopped: %v", exit)
		}
		fmt.Fprintf(out, "%-46v %s\n", exit, answer)
		return exit.Reason == kvm.ExitShutdown, nil
	}
}

// access answers an access to a port or to memory that is not there. Both look alike: data that the guest has written, or room for what it is to read.
func access(write bool, data []byte) string {
	if write {
		return fmt.Sprintf("take % x", data)
	}
	for i := range data {
		data[i] = 'Z'
	}
	return fmt.Sprintf("give % x", data)
}
