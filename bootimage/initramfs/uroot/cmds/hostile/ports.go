package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// allowPorts lets this thread use all ports.
func allowPorts() error { return os.NewSyscallError("ioperm", unix.Ioperm(0, 1<<16, 1)) }

// The instructions of these names (ports_amd64.s).
func outb(port uint16, v byte)
func outw(port, v uint16)
func outl(port uint16, v uint32)
func inb(port uint16) byte
func inw(port uint16) uint16
func inl(port uint16) uint32
