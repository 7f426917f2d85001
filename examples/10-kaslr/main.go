// Lesson 10: the kernel inside a bzImage is unpacked on the host, moved to an address chosen by chance, and entered there. What moves it is done by hand
// first, and compared with what govmm does.
package main

import (
	"bytes"
	"crypto/rand"
	"debug/elf"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"govmm/bootimage/kaslr"
	"govmm/bootimage/payload"
)

const ramSize = 256 << 20

func main() {
	log.SetFlags(0)
	boot := flag.Bool("boot", false, "boot it")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: 10-kaslr [-boot] KERNEL")
	}
	image, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	unpacked, err := unpack(image)
	if err == nil && !*boot {
		err = show(image, unpacked)
	}
	if err == nil && *boot {
		err = bootMoved(image, unpacked)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// unpack takes the kernel out of the bzImage.
func unpack(image []byte) ([]byte, error) {
	p, err := payload.Find(image)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	unpacked, err := p.Unpack()
	fmt.Printf("unpacked:  %d KiB of %v to %d KiB, in %d ms\n", p.Packed()>>10, p.Format(), p.Size()>>10, time.Since(start).Milliseconds())
	return unpacked, err
}

// show moves the kernel to an address chosen by chance.
func show(image, unpacked []byte) error {
	le := binary.LittleEndian
	align, pref, size := le.Uint32(image[0x230:]), le.Uint64(image[0x258:]), le.Uint32(image[0x260:]) // kernel_alignment, pref_address, init_size (lesson 6)
	load, linked, err := layOut(unpacked, pref)
	if err != nil {
		return err
	}
	fmt.Printf("linked:    at %#x, to lie at %#x\n", linked, pref)

	phys, delta, err := kaslr.Choose(rand.Reader, kaslr.Limits{
		Align: uint64(align), PrefAddress: pref, Size: uint64(size), Free: []kaslr.Range{{Addr: 1 << 20, Size: ramSize - 1<<20}},
	})
	if err != nil {
		return err
	}
	fmt.Printf("chosen:    at %#x, to lie at %#x\n", linked+delta, phys)

	moved := bytes.Clone(load)
	places := relocate(moved, unpacked, linked, delta)
	changed := 0
	for i := 0; i < len(load); i += 4096 {
		if end := min(i+4096, len(load)); !bytes.Equal(load[i:end], moved[i:end]) {
			changed++
		}
	}
	fmt.Printf("relocated: %d places, in %d of %d pages\n", places, changed, (len(load)+4095)/4096)

	tables, err := kaslr.Tables(unpacked)
	if err != nil {
		return err
	}
	if err := tables.Apply(load, linked, delta); err != nil {
		return err
	}
	fmt.Printf("as package kaslr does it: %v\n", bytes.Equal(load, moved))
	return nil
}

// layOut puts the segments of the ELF file to where they lie in memory, from the address pref on, and tells the virtual address of the first byte.
func layOut(unpacked []byte, pref uint64) (load []byte, linked uint64, err error) {
	f, err := elf.NewFile(bytes.NewReader(unpacked))
	if err != nil {
		return nil, 0, err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if p.Paddr == pref {
			linked = p.Vaddr
		}
		at := int(p.Paddr - pref)
		load = append(load, make([]byte, max(0, at+int(p.Filesz)-len(load)))...)
		if _, err := p.ReadAt(load[at:at+int(p.Filesz)], 0); err != nil {
			return nil, 0, err
		}
	}
	return load, linked, nil
}

// relocate adds delta to all places in load that hold an address. They are listed behind the ELF file: three lists, each with a zero before it, read from the
// end. An entry is the lower half of the virtual address of a place; the upper half is all ones.
func relocate(load, unpacked []byte, linked, delta uint64) (places int) {
	le, end := binary.LittleEndian, len(unpacked)
	list := func(add func(place []byte)) {
		for end -= 4; le.Uint32(unpacked[end:]) != 0; end -= 4 {
			add(load[0xffffffff_00000000|uint64(le.Uint32(unpacked[end:]))-linked:])
			places++
		}
	}
	list(func(p []byte) { le.PutUint32(p, le.Uint32(p)+uint32(delta)) }) // lower halves of addresses
	list(func(p []byte) { le.PutUint32(p, le.Uint32(p)-uint32(delta)) }) // distances from what moves to what does not
	list(func(p []byte) { le.PutUint64(p, le.Uint64(p)+delta) })         // addresses
	return places
}
