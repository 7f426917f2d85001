// Lesson 5: a device with registers, a UART. The guest reads from it and answers in capitals.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"govmm/devices"
	"govmm/devices/serial"
	"govmm/examples/internal/vm"
	"govmm/kvm"
)

// The guest, in real mode at address 0. Its UART is where a PC has the first one, COM1.
var guest = []byte{
	// next:
	0xba, 0xfd, 0x03, // mov dx, 0x3fd: line status
	// wait:
	0xec,       // in al, dx
	0xa8, 0x01, // test al, 1
	0x74, 0xfb, // jz wait
	0xba, 0xf8, 0x03, // mov dx, 0x3f8: data
	0xec,            // in al, dx
	0x3c, endOfText, // cmp al, endOfText
	0x74, 0x1c, // je end
	0x3c, 'a', // cmp al, 'a'
	0x72, 0x06, // jb send
	0x3c, 'z', // cmp al, 'z'
	0x77, 0x02, // ja send
	0x2c, 'a' - 'A', // sub al, 'a' - 'A'
	// send:
	0x88, 0xc4, // mov ah, al
	0xba, 0xfd, 0x03, // mov dx, 0x3fd
	// busy:
	0xec,       // in al, dx
	0xa8, 0x20, // test al, 0x20
	0x74, 0xfb, // jz busy
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0x88, 0xe0, // mov al, ah
	0xee,       // out dx, al
	0xeb, 0xd4, // jmp next
	// end:
	0xf4, // hlt
}

const (
	com1      = 0x3f8
	endOfText = 4 // what Ctrl-D is on a terminal
)

func main() {
	log.SetFlags(0)
	product := flag.Bool("product", false, "use the UART of the product")
	flag.Parse()
	typed, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	typed = append(typed, endOfText)

	var port devices.Handler
	if *product {
		u := serial.New(serial.Config{Out: os.Stdout})
		go u.Receive(context.Background(), typed)
		port = u
	} else {
		u := newUART(os.Stdout)
		go func() {
			for _, c := range typed {
				u.receive(c)
			}
		}()
		port = u
	}
	exits, err := run(guest, port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d exits\n", exits)
}

// run runs the guest with the UART at COM1, until it halts.
func run(code []byte, uart devices.Handler) (exits int, err error) {
	ports := devices.NewBus("ports", 1<<16)
	if err := ports.Add(com1, serial.Ports, "COM1", uart); err != nil {
		return 0, err
	}
	err = vm.Run(64<<10, func(m *vm.VM, cpu *kvm.VCPU) error {
		if err := m.Load(0, code); err != nil {
			return err
		}
		return vm.RealMode(cpu, kvm.Regs{RIP: 0})
	}, func(exit *kvm.Exit) (bool, error) {
		exits++
		switch exit.Reason {
		case kvm.ExitIO:
			// One `rep outsb` may be many bytes; each is an access of its own.
			for a, i := exit.IO(), 0; i < a.Count; i++ {
				if p := a.Data[i*a.Size:][:a.Size]; a.Write {
					ports.Write(uint64(a.Port), p)
				} else {
					ports.Read(uint64(a.Port), p)
				}
			}
			return false, nil
		case kvm.ExitHlt:
			return true, nil
		}
		return true, fmt.Errorf("the guest has stopped: %v", exit)
	})
	return exits, err
}
