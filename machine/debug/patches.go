package debug

import (
	"errors"
	"slices"

	"govmm/gdbstub"
	"govmm/machine/memory"
)

// int3 is the instruction of one byte that breakpoints are made of.
const int3 = 0xcc

// maxPatches bounds what a debugger can have the monitor keep.
const maxPatches = 4096

// patches are breakpoints in software. Several virtual addresses may be those of one byte of RAM.
type patches struct {
	ram    *memory.Memory
	byVirt map[uint64]uint64 // where in RAM the breakpoint of an address is
	byPhys map[uint64]*patch
}

// A patch is a byte of RAM that is an INT3.
type patch struct {
	original byte
	users    int // addresses
}

func newPatches(ram *memory.Memory) patches {
	return patches{ram, make(map[uint64]uint64), make(map[uint64]*patch)}
}

func (p *patches) empty() bool { return len(p.byPhys) == 0 }

// at says whether there is a breakpoint at a guest-physical address.
func (p *patches) at(phys uint64) bool { return p.byPhys[phys] != nil }

// insert makes a breakpoint. A page that cannot be executed gets none: its bytes are data, or will be, as those of
// Linux's functions for the start alone after the start.
func (p *patches) insert(virt uint64, to page) error {
	if _, ok := p.byVirt[virt]; ok {
		return nil
	}
	switch {
	case to.noExecute:
		return gdbstub.EFAULT
	case len(p.byVirt) == maxPatches:
		return gdbstub.ENOSPC
	}
	if q := p.byPhys[to.phys]; q != nil {
		q.users++
		p.byVirt[virt] = to.phys
		return nil
	}
	b, err := p.ram.WriteSlice(to.phys, 1)
	if err != nil {
		return gdbstub.EFAULT
	}
	p.byPhys[to.phys] = &patch{original: b[0], users: 1}
	p.byVirt[virt] = to.phys
	b[0] = int3
	return nil
}

// remove takes a breakpoint away. The guest may have changed the byte meanwhile: then that stays.
func (p *patches) remove(virt uint64) error {
	phys, ok := p.byVirt[virt]
	if !ok {
		return nil
	}
	delete(p.byVirt, virt)
	q := p.byPhys[phys]
	if q.users--; q.users > 0 {
		return nil
	}
	delete(p.byPhys, phys)
	b, err := p.ram.WriteSlice(phys, 1)
	if err != nil {
		return gdbstub.EFAULT
	}
	if b[0] == int3 {
		b[0] = q.original
	}
	return nil
}

// clear takes all away.
func (p *patches) clear() error {
	var errs []error
	for virt := range p.byVirt {
		errs = append(errs, p.remove(virt))
	}
	return errors.Join(errs...)
}

// read reads RAM as it would be without breakpoints.
func (p *patches) read(phys uint64, b []byte) error {
	if _, err := p.ram.ReadAt(b, int64(phys)); err != nil {
		return err
	}
	p.each(phys, b, func(q *patch, c *byte) {
		if *c == int3 {
			*c = q.original
		}
	})
	return nil
}

// write writes RAM, and what is to stand under breakpoints there when they go.
func (p *patches) write(phys uint64, b []byte) error {
	b = slices.Clone(b)
	p.each(phys, b, func(q *patch, c *byte) { q.original, *c = *c, int3 })
	_, err := p.ram.WriteAt(b, int64(phys))
	return err
}

// each calls f for the breakpoints in len(b) bytes of RAM, with the byte of b.
func (p *patches) each(phys uint64, b []byte, f func(*patch, *byte)) {
	for at, q := range p.byPhys {
		if off := at - phys; off < uint64(len(b)) {
			f(q, &b[off])
		}
	}
}
