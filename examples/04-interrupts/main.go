// Lesson 4: interrupts. A timer inside KVM and a device of ours interrupt a guest that sleeps.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"time"

	"govmm/devices/eventfd"
	"govmm/examples/internal/vm"
	"govmm/kvm"
)

// The guest, in real mode: it sets up the interrupt controller and the timer of a PC, and then sleeps for ever.
var guest = []byte{
	0xb0, 0x11, 0xe6, 0x20, // mov al, 0x11; out 0x20, al: to the controller: set-up begins, three more bytes follow
	0xb0, 0x20, 0xe6, 0x21, // its line n is to be interrupt 0x20+n
	0xb0, 0x04, 0xe6, 0x21, // a second controller is at line 2
	0xb0, 0x01, 0xe6, 0x21, // the processor is of the 8086 family
	0xb0, 0b1101_1110, 0xe6, 0x21, // all lines but 0 and 5 are masked
	0xb0, 0x34, 0xe6, 0x43, // to the timer: counter 0, two bytes follow, over and over
	0xb0, 0x00, 0xe6, 0x40, 0xe6, 0x40, // it counts down from 65536 (written as 0), 1193182 times a second
	0xfb,       // sti: let interrupts in
	0xf4,       // hlt: sleep until one comes
	0xeb, 0xfd, // jmp to hlt
}

// handler is what the guest does when it is interrupted: say c, and tell the controller that it is done.
func handler(c byte) []byte {
	return []byte{
		0x50,    // push ax
		0xb0, c, // mov al, c
		0xe6, 0xe9, // out 0xe9, al
		0xb0, 0x20, 0xe6, 0x20, // mov al, 0x20; out 0x20, al: end of interrupt
		0x58, // pop ax
		0xcf, // iret: back to where the interrupt came
	}
}

// Where things lie in the guest's memory. The processor looks for the handler of interrupt n at 4*n: two bytes of offset, two of segment.
const (
	code          = 0x1000
	timerHandler  = 0x1100
	deviceHandler = 0x1200
	stackTop      = 0x8000
	timerLine     = 0
	deviceLine    = 5
)

func main() {
	log.SetFlags(0)
	begin := time.Now()
	exits, err := run(os.Stdout)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("\n%d exits in %d ms\n", exits, time.Since(begin).Milliseconds())
}

// run runs the guest until the timer has come three times, our device once, and the timer three times more.
func run(out io.Writer) (exits int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m, err := vm.New(64 << 10)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	event, err := eventfd.New()
	if err != nil {
		return 0, err
	}
	defer event.Close()
	cpu, err := build(m, event)
	if err != nil {
		return 0, err
	}
	defer cpu.Close()
	ticks, answered := 0, false
	err = vm.Loop(cpu, func(exit *kvm.Exit) (bool, error) {
		exits++
		if exit.Reason != kvm.ExitIO || exit.IO().Port != 0xe9 {
			return true, fmt.Errorf("the guest has stopped: %v", exit)
		}
		said := exit.IO().Data[0]
		if _, err := out.Write([]byte{said}); err != nil {
			return true, err
		}
		if said == '!' {
			answered = true
			return false, nil
		}
		ticks++
		if ticks == 3 {
			return false, event.Signal() // the device wants something
		}
		return answered && ticks >= 6, nil
	})
	return exits, err
}

// build gives the machine what makes interrupts, its memory, and a processor.
func build(m *vm.VM, event *eventfd.Event) (*kvm.VCPU, error) {
	if err := m.CreateIRQChip(); err != nil { // interrupt controllers, in the kernel
		return nil, err
	}
	if err := m.CreatePIT2(0); err != nil { // a timer, in the kernel too
		return nil, err
	}
	if err := m.AssignIRQFD(event.FD(), deviceLine); err != nil { // each signal of the event is an edge on the line
		return nil, err
	}
	for addr, data := range map[uint64][]byte{
		code: guest, timerHandler: handler('.'), deviceHandler: handler('!'),
		4 * (0x20 + timerLine):  {timerHandler & 0xff, timerHandler >> 8, 0, 0},
		4 * (0x20 + deviceLine): {deviceHandler & 0xff, deviceHandler >> 8, 0, 0},
	} {
		if err := m.Load(addr, data); err != nil {
			return nil, err
		}
	}
	cpu, err := m.CreateVCPU(0)
	if err != nil {
		return nil, err
	}
	return cpu, vm.RealMode(cpu, kvm.Regs{RIP: code, RSP: stackTop})
}
