// Package kvm is the ioctl interface of Linux's KVM in Go: typed, complete for what a
// PC-like virtual machine needs, without cgo. The interface is described in the kernel's
// Documentation/virt/kvm/api.rst; every function here cites its section.
//
// KVM's three kinds of file descriptor are three types. A [Device] is /dev/kvm and
// answers what the host can do. A [VM] is guest-physical memory and interrupt wiring. A
// [VCPU] is a processor: registers, and [VCPU.Run], which enters the guest until it
// needs the host. The smallest monitor is a loop around Run:
//
//	for {
//		exit, err := vcpu.Run()
//		...
//		switch exit.Reason {
//		case kvm.ExitIO:
//			if io := exit.IO(); io.Write { ... } else { copy(io.Data, answer) }
//		case kvm.ExitMMIO:
//			...
//		case kvm.ExitHlt:
//			return
//		}
//	}
//
// The package has no policy: it starts no goroutine, keeps no state that the kernel
// keeps, and decides nothing about a guest's layout or devices. One ioctl is one method.
//
// # Descriptors
//
// Each descriptor has one owner. Close is idempotent, and every method afterwards fails
// with fs.ErrClosed. Nothing is closed by the garbage collector. A VM outlives its
// Device's Close, and VCPUs their VM's, but as long as a VCPU is open the kernel keeps
// its whole VM.
//
// # Errors
//
// Errors are *[Error], which names the ioctl and wraps the system's error number;
// *[CapError] and *[MSRError] match errors.ErrUnsupported.
//
// # What the guest controls
//
// The registers, and of an exit everything but its reason: ports, addresses, widths and
// data. KVM bounds widths and counts, and this package checks them against what is
// mapped; addresses are any value at all.
//
// # Layout
//
// Structs that the kernel reads or writes are written by hand, with structs.HostLayout,
// and ioctl numbers are computed from their sizes. layout_test.go compares both, and
// the constants, with a table made from the kernel's headers by go generate, which needs
// gcc and the package linux-libc-dev.
//
// What is x86's lies in files named *_amd64.go, unsafe code in files named *_unsafe.go.
//
// # Left out
//
// Nested virtualization state, SEV and TDX, Hyper-V and Xen interfaces, AMX state,
// coalesced MMIO, dirty rings, resampling irqfds, userspace MSRs, in-kernel devices, and
// the split irqchip.
package kvm

//go:generate go run ./internal/layoutgen -o layout_amd64_test.go
