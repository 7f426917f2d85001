// Package machine puts one virtual machine together and runs it: guest RAM, vCPUs,
// the devices of a PC without PCI, a loaded kernel, and ACPI tables that tell the
// guest of it all.
//
// The machine is a PC as stock kernels know it: local APICs, I/O APIC and PIC in the
// kernel's KVM; a 16550A UART at COM1, an MC146818A clock, the reset line of an i8042,
// ACPI power management (ACPI 6.5, chapter 4) and virtio-mmio devices (virtio 1.2, 4.2),
// all found through ACPI. There is no firmware: the kernel is entered by its 64-bit boot
// protocol or by PVH, with the registers that package bootimage asks for.
//
// # Life of a machine
//
//	New     opens KVM, maps RAM, builds the buses, loads the kernel, creates the vCPUs
//	Run     lets the vCPUs go; returns when the guest or ctx ends the run
//	Close   gives everything back
//
// Each vCPU is a goroutine locked to an OS thread (vcpu.go). An exit is answered on
// that thread by the bus that has the address. Virtio devices run on goroutines of their own,
// woken by ioeventfds, and interrupt by irqfds. Whatever ends the run calls end, which
// keeps the first cause and kicks every vCPU out of the guest.
//
// # What the guest may do
//
// A vCPU counts as hostile from its first instruction. Nothing it reads or writes is an error of the
// machine: unmapped addresses read as all ones, devices check what they are given,
// and a processor that cannot go on ends the run with a CrashError.
package machine
