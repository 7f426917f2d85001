// Lesson 11: isolation. Guests that try to reach what is not theirs, and then a monitor that does, because it is not its own master any more.
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"govmm/examples/internal/vm"
	"govmm/kvm"
)

const (
	ramSize  = 1 << 20
	codeAddr = 0x10000

	patience = time.Second // then the monitor kicks
)

// A guest's try: code in long mode, all addresses below 4 GiB mapped to themselves (lesson 3).
type try struct {
	what string
	code []byte
}

var tries = []try{
	{"read at 1 GiB; its memory ends at 1 MiB", []byte{
		0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0x40, // mov rax, [0x40000000]
		0xf4, // hlt
	}},
	{"write to 0x400000, where the monitor's program begins", []byte{
		0x48, 0x89, 0x04, 0x25, 0, 0, 0x40, 0, // mov [0x400000], rax
		0xf4, // hlt
	}},
	{"map itself the host's memory at 8 GiB, and read it", []byte{
		0x48, 0xb8, 0x83, 0, 0, 0, 2, 0, 0, 0, // mov rax, 0x200000083: 8 GiB, a page of 2 MiB, present, writable
		0x48, 0x89, 0x04, 0x25, 0x08, 0xb0, 0, 0, // mov [0xb008], rax: the page table's entry for the address 2 MiB
		0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, // mov rax, cr3; mov cr3, rax: forget what stood there
		0x48, 0x8b, 0x04, 0x25, 0, 0, 0x20, 0, // mov rax, [0x200000]
		0xf4, // hlt
	}},
	{"reset the machine by the keyboard controller", []byte{
		0xb0, 0xfe, 0xe6, 0x64, // mov al, 0xfe; out 0x64, al
		0xf4, // hlt
	}},
	{"never end, with interrupts disabled, until the monitor kicks", []byte{
		0xfa,       // cli
		0xeb, 0xfe, // jmp to itself
	}},
	{"take away its own interrupt handlers, and fault", []byte{
		0x0f, 0x01, 0x1c, 0x25, 0, 0, 0, 0, // lidt [0]: ten zeros, an empty table
		0x0f, 0x0b, // ud2: an instruction that is none
	}},
}

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "guest":
		for _, t := range tries {
			fmt.Println(t.what)
			if err := run(t.code); err != nil {
				log.Fatal(err)
			}
		}
		if err := lie(); err != nil {
			log.Fatal(err)
		}
	case len(os.Args) == 2 && os.Args[1] == "monitor":
		compare()
	case len(os.Args) == 4 && os.Args[1] == "deed":
		perform(os.Args[2], os.Args[3] == "sandboxed")
	default:
		log.Fatal("usage: 11-isolation guest|monitor")
	}
}

// run runs a guest and says what comes of it. None of its exits reaches anything: no device is there.
func run(code []byte) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m, err := vm.New(ramSize)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Load(codeAddr, code); err != nil {
		return err
	}
	cpu, err := m.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := vm.LongMode(m, cpu, kvm.Regs{RIP: codeAddr}); err != nil {
		return err
	}

	// A kick: the flag is for a processor that is about to enter the guest, the signal for one that is inside.
	thread := unix.Gettid()
	defer time.AfterFunc(patience, func() {
		cpu.SetImmediateExit(true)
		unix.Tgkill(os.Getpid(), thread, unix.SIGURG)
	}).Stop()
	for start := time.Now(); ; {
		exit, err := cpu.Run()
		switch {
		case err != nil:
			return err
		case exit.Reason == kvm.ExitIntr && time.Since(start) < patience:
			continue // another signal
		}
		fmt.Printf("    %v\n", exit)
		switch exit.Reason {
		case kvm.ExitIO: // nobody listens
		case kvm.ExitMMIO:
			if a := exit.MMIO(); !a.Write {
				copy(a.Data, "\xff\xff\xff\xff\xff\xff\xff\xff") // and nobody answers
			}
		default:
			return nil
		}
	}
}

// lie does what a hostile driver does: it hands addresses to a device that are not its own. Devices reach memory by ReadSlice and WriteSlice only.
func lie() error {
	m, err := vm.New(ramSize)
	if err != nil {
		return err
	}
	defer m.Close()
	fmt.Println("have a device write for it")
	for _, d := range []struct{ addr, size uint64 }{{0xff000, 4096}, {0xff000, 4097}, {0x400000, 16}, {0xfffffffffffff000, 8192}} {
		_, err := m.RAM.WriteSlice(d.addr, d.size)
		fmt.Printf("    %d bytes at %#x: %v\n", d.size, d.addr, err)
	}
	return nil
}
