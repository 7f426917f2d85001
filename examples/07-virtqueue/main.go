// Lesson 7: a virtqueue, made by a guest's instructions and served by hand. The device answers each text in capitals.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"govmm/examples/internal/vm"
	"govmm/kvm"
	"govmm/machine/memory"
)

// Where the guest keeps its queue, which has 4 descriptors, and the two buffers of its request.
const (
	code, table, avail, used, question, answer = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000

	size     = 4
	room     = 64   // bytes for the answer
	doorbell = 0x10 // a write to this port says that something new is available
)

// The guest, in real mode, with the length of the question in CX. [0x2008] is the two bytes at 0x2008.
var guest = []byte{
	0xc7, 0x06, 0x00, 0x20, 0x00, 0x50, // mov word [0x2000], 0x5000: descriptor 0: address
	0x89, 0x0e, 0x08, 0x20, //             mov [0x2008], cx: length
	0xc7, 0x06, 0x0c, 0x20, next, 0x00, // mov word [0x200c], next: flags
	0xc7, 0x06, 0x0e, 0x20, 0x01, 0x00, // mov word [0x200e], 1: it continues in descriptor 1
	0xc7, 0x06, 0x10, 0x20, 0x00, 0x60, // mov word [0x2010], 0x6000: descriptor 1: address
	0xc7, 0x06, 0x18, 0x20, room, 0x00, // mov word [0x2018], room: length
	0xc7, 0x06, 0x1c, 0x20, write, 0x00, // mov word [0x201c], write: flags
	0xc7, 0x06, 0x04, 0x30, 0x00, 0x00, // mov word [0x3004], 0: available: the chain that begins with descriptor 0
	0xc7, 0x06, 0x02, 0x30, 0x01, 0x00, // mov word [0x3002], 1: one chain is available
	0xe6, doorbell, // out doorbell, al
	0x83, 0x3e, 0x02, 0x40, 0x01, // cmp word [0x4002], 1: is one chain used?
	0x75, 0xf9, // jne to cmp
	0xf4, // hlt
}

func main() {
	log.SetFlags(0)
	product := flag.Bool("product", false, "serve the queue with the product's code")
	flag.Parse()
	text := strings.Join(flag.Args(), " ")
	if text == "" || len(text) > room {
		log.Fatalf("usage: 07-virtqueue [-product] TEXT of 1 to %d bytes", room)
	}
	newDevice := byHand
	if *product {
		newDevice = byProduct
	}
	if err := run(text, newDevice, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run has the guest ask, and the device look whenever the guest rings.
func run(text string, newDevice func(*memory.Memory) (device, error), out io.Writer) error {
	var ram *memory.Memory
	var look device
	exits := 0
	return vm.Run(64<<10, func(m *vm.VM, cpu *kvm.VCPU) (err error) {
		ram = m.RAM
		if look, err = newDevice(ram); err != nil {
			return err
		}
		if err := m.Load(code, guest); err != nil {
			return err
		}
		if err := m.Load(question, []byte(text)); err != nil {
			return err
		}
		return vm.RealMode(cpu, kvm.Regs{RIP: code, RCX: uint64(len(text))})
	}, func(exit *kvm.Exit) (bool, error) {
		exits++
		switch {
		case exit.Reason == kvm.ExitIO && exit.IO().Port == doorbell:
			if err := show(out, ram); err != nil {
				return true, err
			}
			return false, look()
		case exit.Reason == kvm.ExitHlt:
			err := show(out, ram)
			fmt.Fprintf(out, "%d exits\n", exits)
			return true, err
		}
		return true, fmt.Errorf("the guest has stopped: %v", exit)
	})
}

// A device answers all that is available when it is called.
type device func() error

// byHand makes a device with what is in queue.go.
func byHand(ram *memory.Memory) (device, error) {
	q := newQueue(ram)
	return func() error {
		for {
			head, ok, err := q.pop()
			if !ok {
				return err
			}
			readable, writable, err := q.chain(head)
			if err != nil {
				return err
			}
			reply := bytes.ToUpper(bytes.Join(readable, nil))
			n := 0
			for _, w := range writable {
				n += copy(w, reply[n:])
			}
			if err := q.push(head, uint32(n)); err != nil {
				return err
			}
		}
	}, nil
}
