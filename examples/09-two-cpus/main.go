// Lesson 9: two processors. The first one starts the second, and both count in the same memory.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"slices"

	"govmm/examples/internal/vm"
)

// Where things lie in the guest's memory. The second processor begins where the first one says, at a multiple of 4096.
const (
	firstCode  = 0x1000
	secondCode = 0x2000
	counter    = 0x8000 // what both count in
	running    = 0x8004 // 1 when the second processor has begun
	finished   = 0x8005 // how many of them have counted to the end
)

const (
	nop  = 0x90
	lock = 0xf0 // before an instruction: no other processor comes between its reading and its writing
)

// first is the code of the first processor, 32-bit. At 0xfee00000 is the local APIC, for each processor its own. What is written to the APIC's
// register 0x300 is sent to the processor whose number is in the highest byte of register 0x310.
func first(prefix byte, rounds uint32) []byte {
	return slices.Concat([]byte{
		0xb8, 0xff, 0x01, 0x00, 0x00, // mov eax, 0x1ff
		0xa3, 0xf0, 0x00, 0xe0, 0xfe, // mov [0xfee000f0], eax: the APIC is on
		0xb8, 0x00, 0x00, 0x00, 0x01, // mov eax, 0x01000000
		0xa3, 0x10, 0x03, 0xe0, 0xfe, // mov [0xfee00310], eax: to processor 1
		0xb8, 0x00, 0x45, 0x00, 0x00, // mov eax, 0x4500
		0xa3, 0x00, 0x03, 0xe0, 0xfe, // mov [0xfee00300], eax: INIT
		0xb8, secondCode >> 12, 0x46, 0x00, 0x00, // mov eax, 0x4602
		0xa3, 0x00, 0x03, 0xe0, 0xfe, // mov [0xfee00300], eax: begin at page 2
		// wait:
		0xf3, 0x90, // pause
		0x80, 0x3d, 0x04, 0x80, 0x00, 0x00, 0x01, // cmp byte [running], 1
		0x75, 0xf5, // jne wait
		0xb9, // mov ecx, rounds
	}, number(rounds), []byte{
		// next:
		prefix, 0xff, 0x05, 0x00, 0x80, 0x00, 0x00, // inc dword [counter]
		0x49,       // dec ecx
		0x75, 0xf6, // jnz next
		lock, 0xfe, 0x05, 0x05, 0x80, 0x00, 0x00, // lock inc byte [finished]
		// both:
		0xf3, 0x90, // pause
		0x80, 0x3d, 0x05, 0x80, 0x00, 0x00, 0x02, // cmp byte [finished], 2
		0x75, 0xf5, // jne both
		0xe6, donePort, // out donePort, al
	})
}

// second is the code of the second, which begins in real mode as every processor does.
func second(prefix byte, rounds uint32) []byte {
	return slices.Concat([]byte{
		0xc6, 0x06, 0x04, 0x80, 0x01, // mov byte [running], 1
		0x66, 0xb9, // mov ecx, rounds
	}, number(rounds), []byte{
		// next:
		prefix, 0x66, 0xff, 0x06, 0x00, 0x80, // inc dword [counter]
		0x66, 0x49, // dec ecx
		0x75, 0xf6, // jnz next
		lock, 0xfe, 0x06, 0x05, 0x80, // lock inc byte [finished]
		0xf4, // hlt: interrupts are shut out, so this is for ever
	})
}

func number(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

func main() {
	log.SetFlags(0)
	locked := flag.Bool("lock", false, "count with locked instructions")
	rounds := flag.Uint("rounds", 100_000, "how far each of them counts")
	flag.Parse()
	prefix := byte(nop)
	if *locked {
		prefix = lock
	}
	n := uint32(*rounds)
	count, err := run(first(prefix, n), second(prefix, n))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("twice %d is %d; %d are lost\n", n, count, 2*n-count)
}

// run runs a machine with two processors until the first one says that both have counted, and gives the counter.
func run(first, second []byte) (count uint32, err error) {
	m, err := vm.New(64 << 10)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := m.CreateIRQChip(); err != nil { // each processor gets a local APIC
		return 0, err
	}
	for addr, code := range map[uint64][]byte{firstCode: first, secondCode: second} {
		if err := m.Load(addr, code); err != nil {
			return 0, err
		}
	}
	if err := runBoth(m); err != nil {
		return 0, err
	}
	bytes, err := m.RAM.ReadSlice(counter, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(bytes), nil
}
