package main

import "govmm/kvm"

// The exercises of lesson 4. Change what stands here, then: go test ./examples/04-interrupts -exercise

// Exercise 1: from what the timer counts down to interrupt hz times a second, as nearly as it can. It counts 1193182 times a second, and takes 16 bits,
// of which 0 stands for 65536. For what is too slow or too fast for it, it is to come as near as it can.
func divisor(hz int) uint16 { return 0 }

// Exercise 2: a division by zero is interrupt 0, and the processor comes back to the same instruction, so that a handler that does nothing is
// called for ever. This one says "0" at port 0xe9 and has the guest go on behind the division, which has two bytes. All registers keep
// their values. On the stack are, from where SP points: the instruction's offset, its segment, the flags, two bytes each.
var divideError = handler('0')

// Exercise 3: devices of today have no line. They write a number to an address, and that is the interrupt: a message. The address is 0xfee00000, with
// the number of the processor's local APIC from bit 12 on; the number that is written is the interrupt's, if it is edge-triggered and of the fixed kind.
func message(apic, interrupt uint8) kvm.MSI { return kvm.MSI{} }
