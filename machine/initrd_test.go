package machine

import (
	"testing"

	"govmm/bootimage"
	"govmm/machine/memory"
)

// TestDiscardInitrd holds that the initrd's pages go back to the host, and no others, and that nothing is touched after Close.
func TestDiscardInitrd(t *testing.T) {
	ram, err := memory.New([]memory.Range{{Base: 0, Size: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	m := newBare()
	m.ram = ram
	m.onClose(ram.Close)
	data := ram.Regions()[0].Data
	for i := range data {
		data[i] = 1
	}
	plan := &bootimage.Plan{Segments: []bootimage.Segment{
		{Addr: 0x1000, Size: 0x2000, Source: bootimage.FromKernel},
		{Addr: 0x8000, Size: 0x4000, Source: bootimage.FromInitrd},
	}}
	if m.initrd, err = m.initrdRAM(plan); err != nil {
		t.Fatal(err)
	}
	if err := m.DiscardInitrd(); err != nil {
		t.Fatal(err)
	}
	for i, b := range data {
		if gone := i >= 0x8000 && i < 0xc000; gone != (b == 0) {
			t.Fatalf("byte %#x is %d", i, b)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.DiscardInitrd(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}
