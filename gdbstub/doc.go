// Package gdbstub is the far side of gdb's remote protocol (gdb's manual, appendix E "gdb Remote Serial Protocol") for a machine with
// x86-64 processors: gdb's "target remote" talks to it. It knows nothing of what the machine is made of; that is the Target.
//
// # What it does
//
// Processors are threads, numbered from 1 on. All of them stand still or some of them run ("all-stop"). It serves registers with a target
// description, memory, software and hardware breakpoints, watchpoints, single steps and steps over a range of addresses, interrupts,
// detaching, and "monitor" commands.
//
// # Whom it trusts
//
// Whoever is connected owns the machine: it can change each register and all memory. It does not own the monitor: packets are bounded, what is
// not understood is refused as the protocol has it, and a peer that does not keep to the framing is cut off, after which the machine goes
// on. So is one that does not begin with a byte of the protocol's, as a web browser, which any page can have connect to a port of this host.
// What comes from the machine (registers, memory) is only passed on.
//
// It is our own because there is nothing to import: gdb's protocol in Go exists as clients (Delve's), and inside emulators as
// packages of theirs for one kind of processor.
package gdbstub
