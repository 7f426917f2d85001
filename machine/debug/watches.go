package debug

import (
	"govmm/gdbstub"
)

// slots is how many debug registers a processor has for addresses.
const slots = 4

// watches are the breakpoints and watchpoints that the processors have themselves, the same on each.
type watches struct {
	slots [slots]slot
}

// A slot is what one debug register is used for: all of a breakpoint, or a part that one register can watch.
type slot struct {
	whole *gdbstub.Breakpoint // nil: the slot is free
	addr  uint64
	size  uint64
}

func (w *watches) empty() bool {
	for _, s := range w.slots {
		if s.whole != nil {
			return false
		}
	}
	return true
}

// insert takes as many slots as it needs, or none.
func (w *watches) insert(b gdbstub.Breakpoint) error {
	for _, s := range w.slots {
		if s.whole != nil && *s.whole == b {
			return nil
		}
	}
	parts, ok := split(b.Addr, b.Size)
	if !ok {
		return gdbstub.ENOSPC
	}
	next := *w
	for _, p := range parts {
		i := next.free()
		if i < 0 {
			return gdbstub.ENOSPC
		}
		p.whole = &b
		next.slots[i] = p
	}
	*w = next
	return nil
}

func (w *watches) free() int {
	for i, s := range w.slots {
		if s.whole == nil {
			return i
		}
	}
	return -1
}

func (w *watches) remove(b gdbstub.Breakpoint) {
	for i, s := range w.slots {
		if s.whole != nil && *s.whole == b {
			w.slots[i] = slot{}
		}
	}
}

// split cuts an area into pieces that debug registers can watch: 1, 2, 4 or 8 bytes at a multiple of that.
func split(addr, size uint64) (parts []slot, ok bool) {
	for size > 0 {
		n := uint64(8)
		for addr%n != 0 || n > size {
			n /= 2
		}
		if len(parts) == slots {
			return nil, false
		}
		parts = append(parts, slot{addr: addr, size: n})
		addr, size = addr+n, size-n
	}
	return parts, len(parts) > 0
}

// hit gives what the processor has found, by DR6, or nil.
func (w *watches) hit(dr6 uint64) *gdbstub.Breakpoint {
	for i, s := range w.slots {
		if s.whole != nil && dr6&(1<<i) != 0 {
			return s.whole
		}
	}
	return nil
}

// covers says whether there is a watchpoint that was set for an address.
func (w *watches) covers(addr uint64) bool {
	for _, s := range w.slots {
		if s.whole != nil && s.whole.Addr == addr {
			return true
		}
	}
	return false
}

// dr7Kind is the field R/W of DR7 (Intel SDM, volume 3B, 18.2.4).
func dr7Kind(k gdbstub.BreakKind) uint64 {
	switch k {
	case gdbstub.WatchWrite:
		return 0b01
	case gdbstub.WatchAccess:
		return 0b11
	}
	return 0b00
}

// dr7Length is the field LEN of DR7 for a number of bytes.
func dr7Length(bytes uint64) uint64 {
	if bytes == 8 {
		return 0b10
	}
	return bytes - 1
}

// registers gives DR0 to DR7.
func (w *watches) registers() (dr [8]uint64) {
	dr[7] = 1 << 10 // always one
	for i, s := range w.slots {
		if s.whole == nil {
			continue
		}
		dr[i] = s.addr
		dr[7] |= 1<<(2*i+1) | dr7Kind(s.whole.Kind)<<(16+4*i) | dr7Length(s.size)<<(18+4*i)
	}
	return dr
}
