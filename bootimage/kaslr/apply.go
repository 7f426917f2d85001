package kaslr

import (
	"encoding/binary"
	"fmt"
)

// Apply relocates load by delta bytes.
//
// load is the kernel as it lies in memory: each ELF segment at its physical address
// less the kernel's physical link address (LOAD_PHYSICAL_ADDR, the setup header's
// pref_address). It ends with the last segment's bytes or later; there are no
// relocations in the BSS. linkVirt is the virtual address as linked of load's first
// byte, usually 0xffffffff81000000. delta is how much higher the kernel will be
// mapped: less than 1 GiB, and a multiple of its alignment, which is not checked.
//
// A place that is not all inside load is an error, and so is a delta of 1 GiB or
// more. Then load is as it was.
func (r Relocs) Apply(load []byte, linkVirt, delta uint64) error {
	if delta >= mapSize {
		return fmt.Errorf("the kernel cannot be moved by %#x bytes, only by less than 1 GiB", delta)
	}
	for _, t := range []struct {
		entries []byte
		width   int
	}{{r.abs32, 4}, {r.inverse, 4}, {r.abs64, 8}} {
		if err := check(t.entries, load, linkVirt, t.width); err != nil {
			return err
		}
	}
	add32(r.abs32, load, linkVirt, uint32(delta))
	add32(r.inverse, load, linkVirt, -uint32(delta))
	add64(r.abs64, load, linkVirt, delta)
	return nil
}

// check reports an error unless every entry is the place of width bytes in load.
func check(entries, load []byte, linkVirt uint64, width int) error {
	room := uint64(max(len(load)-width+1, 0)) // how many places there are
	for ; len(entries) >= entrySize; entries = entries[entrySize:] {
		// A place below linkVirt wraps around to a great offset.
		if v := address(le32(entries, 0)); v-linkVirt >= room {
			return fmt.Errorf("the kernel has a relocation at %#x, outside of its %d bytes from %#x on", v, len(load), linkVirt)
		}
	}
	return nil
}

func add32(entries, load []byte, linkVirt uint64, delta uint32) {
	for ; len(entries) >= entrySize; entries = entries[entrySize:] {
		p := load[address(le32(entries, 0))-linkVirt:]
		binary.LittleEndian.PutUint32(p, binary.LittleEndian.Uint32(p)+delta)
	}
}

func add64(entries, load []byte, linkVirt uint64, delta uint64) {
	for ; len(entries) >= entrySize; entries = entries[entrySize:] {
		p := load[address(le32(entries, 0))-linkVirt:]
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)+delta)
	}
}
