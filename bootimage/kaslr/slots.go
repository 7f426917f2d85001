package kaslr

import (
	"cmp"
	"slices"
)

// slots are addresses at which a kernel may lie, in runs of neighbours.
type slots []run

// run is count addresses, the first of them being addr.
type run struct{ addr, count uint64 }

// physSlots finds the physical addresses, and how many there are.
func (l Limits) physSlots() (slots, uint64) {
	reserved := slices.Clone(l.Reserved)
	slices.SortFunc(reserved, func(a, b Range) int { return cmp.Compare(a.Addr, b.Addr) })
	var s slots
	for _, free := range l.Free {
		at, end := max(free.Addr, l.PrefAddress, minPhys), free.Addr+free.Size
		for _, r := range reserved {
			if r.Size > 0 {
				s = l.addRun(s, at, min(r.Addr, end))
				at = max(at, r.Addr+r.Size)
			}
		}
		s = l.addRun(s, at, end)
	}
	var total uint64
	for _, r := range s {
		total += r.count
	}
	return s, total
}

// addRun adds the addresses at which the kernel fits between start and end. There
// are none if end is not above start.
func (l Limits) addRun(s slots, start, end uint64) slots {
	addr, ok := alignUp(start, l.Align)
	if !ok || addr > end || l.Size > end-addr {
		return s
	}
	return append(s, run{addr, (end-addr-l.Size)/l.Align + 1})
}

// at returns address number i, which is less than there are.
func (s slots) at(i, align uint64) uint64 {
	for _, r := range s {
		if i < r.count {
			return r.addr + i*align
		}
		i -= r.count
	}
	return 0 // not reached
}
