package main

import (
	"errors"

	"govmm/machine"
)

// transport is the value of --transport.
type transport machine.Transport

func (t *transport) Set(s string) error {
	switch s {
	case "pci":
		*t = transport(machine.PCI)
	case "mmio":
		*t = transport(machine.MMIO)
	default:
		return errors.New("give pci or mmio")
	}
	return nil
}

func (t *transport) String() string {
	if machine.Transport(*t) == machine.MMIO {
		return "mmio"
	}
	return "pci"
}

func (t *transport) Type() string { return "HOW" }
