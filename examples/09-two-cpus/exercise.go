package main

import (
	"time"

	"govmm/kvm"
)

// The exercises of lesson 9. Change what stands here, then: go test ./examples/09-two-cpus -exercise

// Exercise 1: what to write to the APIC's registers 0x310 and then 0x300 to have processor number apic begin at addr in real mode. ok is false where
// that is not possible: the message has eight bits for the page.
func startUp(apic uint8, addr uint64) (high, low uint32, ok bool) { return 0, 0, false }

// Exercise 2: a lock. Two processors in protected mode execute acquire, then something that only one at a time may do, then release. The byte
// at 0x8010 is theirs, 0 in the beginning. EAX and EBX may be changed. The instruction to look at is XCHG with memory, which is always locked.
var (
	acquire = []byte{}
	release = []byte{}
)

// Exercise 3: have a guest that makes no exits run for a while, and come back. runFor is called on the thread to which the caller is locked, several
// times. KVM_RUN returns by itself neither when the time is over nor reliably at any other time.
func runFor(cpu *kvm.VCPU, d time.Duration) error { return nil }
