package debug

import (
	"encoding/binary"
	"errors"

	"govmm/kvm"
)

// Bits of control registers, of EFER and of the entries of page tables (Intel SDM, volume 3A, chapter 5 "Paging").
const (
	cr0PG   = 1 << 31
	cr4PSE  = 1 << 4
	cr4PAE  = 1 << 5
	cr4LA57 = 1 << 12
	eferLMA = 1 << 10
	eferNXE = 1 << 11

	ptePresent   = 1 << 0
	pteLarge     = 1 << 7
	pteNoExecute = 1 << 63
	pteAddr      = 0x000f_ffff_ffff_f000
)

const pageSize = 4096

// errUnmapped is given for an address that the guest's page tables do not map.
var errUnmapped = errors.New("not mapped")

// A page is what a virtual address is mapped to.
type page struct {
	phys      uint64 // of the address, not of the page's beginning
	noExecute bool
}

// physical is guest RAM as the walk reads it.
type physical interface {
	ReadAt(p []byte, off int64) (int, error)
}

// walk translates a virtual address as a processor with these registers would, whatever the rights of the page, and without what
// the processor may remember of older tables. The tables are the guest's and may say anything: the walk reads one entry of each
// level, wherever that is.
func walk(ram physical, s *kvm.Sregs, addr uint64) (page, error) {
	switch {
	case s.CR0&cr0PG == 0:
		return page{phys: addr & 0xffff_ffff}, nil
	case s.EFER&eferLMA != 0:
		return walkLong(ram, s, addr)
	case addr > 0xffff_ffff:
		return page{}, errUnmapped
	case s.CR4&cr4PAE != 0:
		return walkPAE(ram, s, addr)
	}
	return walk32(ram, s, addr)
}

// walkLong is for 64-bit mode, with tables of four or five levels.
func walkLong(ram physical, s *kvm.Sregs, addr uint64) (page, error) {
	levels := 4
	if s.CR4&cr4LA57 != 0 {
		levels = 5
	}
	if sign := 64 - (12 + 9*levels); uint64(int64(addr<<sign)>>sign) != addr {
		return page{}, errUnmapped // not canonical
	}
	return walkLevels(ram, s, addr, s.CR3&pteAddr, levels)
}

// walkPAE is for 32-bit mode with entries of 64 bits: the first table has four of them, at a multiple of 32.
func walkPAE(ram physical, s *kvm.Sregs, addr uint64) (page, error) {
	entry, err := readEntry(ram, s.CR3&0xffff_ffe0+addr>>30*8)
	if err != nil || entry&ptePresent == 0 {
		return page{}, errUnmapped
	}
	return walkLevels(ram, s, addr, entry&pteAddr, 2)
}

// walkLevels goes through tables of 512 entries, of which each level translates nine bits.
func walkLevels(ram physical, s *kvm.Sregs, addr, table uint64, levels int) (page, error) {
	noExecute := false
	for level := levels; level > 0; level-- {
		shift := 12 + 9*(level-1)
		entry, err := readEntry(ram, table+addr>>shift&511*8)
		if err != nil || entry&ptePresent == 0 {
			return page{}, errUnmapped
		}
		noExecute = noExecute || s.EFER&eferNXE != 0 && entry&pteNoExecute != 0
		if level == 1 || level <= 3 && entry&pteLarge != 0 {
			offset := uint64(1)<<shift - 1
			return page{entry&pteAddr&^offset | addr&offset, noExecute}, nil
		}
		table = entry & pteAddr
	}
	return page{}, errUnmapped
}

// walk32 is for 32-bit mode with entries of 32 bits, in two levels of 1024.
func walk32(ram physical, s *kvm.Sregs, addr uint64) (page, error) {
	table := s.CR3 & 0xffff_f000
	for _, shift := range []int{22, 12} {
		var b [4]byte
		if _, err := ram.ReadAt(b[:], int64(table+addr>>shift&1023*4)); err != nil {
			return page{}, errUnmapped
		}
		entry := uint64(binary.LittleEndian.Uint32(b[:]))
		switch {
		case entry&ptePresent == 0:
			return page{}, errUnmapped
		case shift == 22 && entry&pteLarge != 0 && s.CR4&cr4PSE != 0:
			// Bits 13 to 20 are bits 32 to 39 of the address.
			return page{phys: entry>>13&0xff<<32 | entry&0xffc0_0000 | addr&0x3f_ffff}, nil
		}
		table = entry & 0xffff_f000
	}
	return page{phys: table | addr&0xfff}, nil
}

func readEntry(ram physical, at uint64) (uint64, error) {
	var b [8]byte
	if _, err := ram.ReadAt(b[:], int64(at)); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}
