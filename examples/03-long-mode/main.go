// Lesson 3: the same bytes in three modes of the processor, and page tables that put them at any address.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"govmm/examples/internal/vm"
	"govmm/kvm"
)

// The guest finds out in which mode it runs. Beside each line is what 64-bit code, and what 16-bit or 32-bit code reads in it.
var guest = []byte{
	0x41, 0xb0, '6', //           mov r8b, '6'     | inc cx; mov al, '6'
	0xb8, '3', 0x00, 0xb0, '1', // mov eax, ...'3' | 16-bit: mov ax, '3'; mov al, '1'
	0x44, 0x88, 0xc0, //          mov al, r8b      | inc sp; mov al, al
	0xe6, 0xe9, // out 0xe9, al
	0xf4, // hlt
}

// Where things lie in the guest's memory.
const (
	codePage = 0x1000 // the guest
	tables   = 0x2000 // four page tables, one page each
)

// Bits of the registers that choose the mode, and of entries of page tables.
const (
	cr0Protected = 1 << 0  // PE: descriptors in place of "16 times the selector"
	cr0Paging    = 1 << 31 // PG: addresses go through page tables
	cr4PAE       = 1 << 5  // entries of page tables have 64 bits
	eferLong     = 1 << 8  // LME: long mode is wanted
	eferActive   = 1 << 10 // LMA: long mode is on

	present  = 1 << 0
	writable = 1 << 1
)

func main() {
	log.SetFlags(0)
	var err error
	if len(os.Args) == 1 {
		err = modes(os.Stdout)
	} else {
		err = at(os.Args[1], os.Stdout)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// modes runs the guest in each mode.
func modes(out io.Writer) error {
	for _, mode := range []struct {
		name  string
		enter func(*kvm.Sregs)
	}{
		{"16-bit real mode", realMode},
		{"32-bit protected mode", protectedMode},
		{"64-bit long mode", longMode},
	} {
		said, _, err := run(map[uint64][]byte{codePage: guest, tables: pageTables(codePage)}, mode.enter, codePage)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-22s the guest says %s\n", mode.name, said)
	}
	return nil
}

// realMode is how a processor begins, but for the address.
func realMode(s *kvm.Sregs) { s.CS.Selector, s.CS.Base = 0, 0 }

// protectedMode gives the segments all 4 GiB. A selector is an index into a table of descriptors, which has what stands here packed into eight bytes;
// set so, the processor does not read the table until the guest loads a segment register. Type 3 is data that may be read and written, 11 code that may
// be read; S says that it is one of these two, and G that a descriptor would count the limit in pages.
func protectedMode(s *kvm.Sregs) {
	s.CR0 |= cr0Protected
	data := kvm.Segment{Selector: 0x10, Base: 0, Limit: 0xffffffff, Type: 3, S: 1, Present: 1, DB: 1, G: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.CS = data
	s.CS.Selector, s.CS.Type = 0x08, 11 // code, and DB = 1 says that it is 32-bit
}

// longMode adds page tables, without which there is no 64-bit code.
func longMode(s *kvm.Sregs) {
	protectedMode(s)
	s.CR3, s.CR4, s.EFER = tables, s.CR4|cr4PAE, eferLong|eferActive
	s.CR0 |= cr0Paging
	s.CS.DB, s.CS.L = 0, 1 // 64-bit code
}

// run fills the guest's memory, has the processor enter a mode and begin at rip, and gives what the guest says and the physical address of rip.
func run(contents map[uint64][]byte, enter func(*kvm.Sregs), rip uint64) (said string, physical uint64, err error) {
	err = vm.Run(1<<20, func(m *vm.VM, cpu *kvm.VCPU) error {
		for addr, data := range contents {
			if err := m.Load(addr, data); err != nil {
				return err
			}
		}
		if err := vm.SetRegisters(cpu, kvm.Regs{RIP: rip}, enter); err != nil {
			return err
		}
		t, err := cpu.Translate(rip)
		physical = t.Physical
		return err
	}, func(exit *kvm.Exit) (bool, error) {
		switch exit.Reason {
		case kvm.ExitIO:
			said += string(exit.IO().Data)
			return false, nil
		case kvm.ExitHlt:
			return true, nil
		}
		return true, fmt.Errorf("the guest has stopped: %v", exit)
	})
	return said, physical, err
}
