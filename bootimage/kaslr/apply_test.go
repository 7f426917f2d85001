package kaslr

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestApply(t *testing.T) {
	le := binary.LittleEndian
	const delta = 0x1240_0000
	load := make([]byte, testSize)
	le.PutUint32(load[3:], 0x8100_0100)                    // an absolute 32-bit address, unaligned as in code
	le.PutUint32(load[16:], 0xffff_fff0)                   // per-CPU, relative to the instruction
	le.PutUint64(load[testSize-8:], 0xffff_ffff_8100_0200) // a pointer, the last bytes
	le.PutUint64(load[32:], 0xffff_ffff_8100_0300)         // nothing to relocate
	want := bytes.Clone(load)
	le.PutUint32(want[3:], 0x8100_0100+delta)
	le.PutUint32(want[16:], 0xffff_fff0-delta)
	le.PutUint64(want[testSize-8:], 0xffff_ffff_8100_0200+delta)

	r := mustTables(t, join(fakeELF(), table(testVirt+testSize-8), table(testVirt+16), table(testVirt+3)))
	if err := r.Apply(load, testVirt, delta); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(load, want) {
		t.Error("the memory is not as expected")
	}
}

// TestApplyTwice holds that moves add up: once by all is as good as twice by half.
func TestApplyTwice(t *testing.T) {
	r := mustTables(t, join(fakeELF(), table(testVirt, testVirt+64), table(testVirt+33), table(testVirt+101)))
	once, twice := bytes.Repeat([]byte{0xa5}, testSize), bytes.Repeat([]byte{0xa5}, testSize)
	for _, err := range []error{
		r.Apply(once, testVirt, 0x2000_0000),
		r.Apply(twice, testVirt, 0x1000_0000),
		r.Apply(twice, testVirt, 0x1000_0000),
		r.Apply(twice, testVirt, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(once, twice) {
		t.Error("two moves differ from one")
	}
}

func TestApplyRefused(t *testing.T) {
	in := table(testVirt)
	for name, c := range map[string]struct {
		tail  []byte
		size  int
		virt  uint64
		delta uint64
	}{
		"below":           {join(in, in, table(testVirt-1)), testSize, testVirt, minAlign},
		"32-bit at end":   {join(in, in, table(testVirt+testSize-3)), testSize, testVirt, minAlign},
		"inverse at end":  {join(in, table(testVirt+testSize-3), in), testSize, testVirt, minAlign},
		"64-bit at end":   {join(table(testVirt+testSize-7), in, in), testSize, testVirt, minAlign},
		"beyond":          {join(in, in, table(testVirt+testSize)), testSize, testVirt, minAlign},
		"far beyond":      {join(in, in, table(0xffff_ffff_bfff_ffff)), testSize, testVirt, minAlign},
		"no memory":       {join(in, in, in), 0, testVirt, minAlign},
		"little memory":   {join(in, in, in), 7, testVirt, minAlign},
		"linked above":    {join(in, in, in), testSize, testVirt + 1, minAlign},
		"linked at the 0": {join(in, in, in), testSize, 0, minAlign},
		"moved too far":   {join(in, in, in), testSize, testVirt, mapSize},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustTables(t, join(fakeELF(), c.tail))
			load := bytes.Repeat([]byte{0x5a}, c.size)
			if err := r.Apply(load, c.virt, c.delta); err == nil {
				t.Error("no error")
			}
			if !bytes.Equal(load, bytes.Repeat([]byte{0x5a}, c.size)) {
				t.Error("the memory has changed in spite of the error")
			}
		})
	}
}

// move adds delta to the number of width bytes at p, byte by byte.
func move(p []byte, width int, delta uint64) {
	carry := uint64(0)
	for i := range width {
		sum := uint64(p[i]) + delta&0xff + carry
		p[i], carry, delta = byte(sum), sum>>8, delta>>8
	}
}

func FuzzApply(f *testing.F) {
	f.Add(table(testVirt)[4:], table(testVirt + 4)[4:], table(testVirt + 8)[4:], uint16(testSize), uint64(testVirt), uint64(minAlign))
	f.Add(table(testVirt + 8)[4:], []byte{}, table(testVirt - 1)[4:], uint16(9), uint64(testVirt), uint64(mapSize-1))
	f.Add([]byte{1, 0, 0, 0}, []byte{2, 0, 0, 0, 3}, []byte{0, 0, 0, 0}, uint16(8), uint64(0), uint64(1))
	f.Fuzz(func(t *testing.T, abs32, inverse, abs64 []byte, size uint16, virt, delta uint64) {
		load := bytes.Repeat([]byte{0xfe}, int(size))
		want := bytes.Clone(load)
		if err := (Relocs{abs32, inverse, abs64}).Apply(load, virt, delta); err == nil {
			for _, m := range []struct {
				places []byte
				width  int
				delta  uint64
			}{{abs32, 4, delta}, {inverse, 4, -delta}, {abs64, 8, delta}} {
				for i := 0; i+4 <= len(m.places); i += 4 {
					v := uint64(int64(int32(binary.LittleEndian.Uint32(m.places[i:]))))
					move(want[v-virt:], m.width, m.delta)
				}
			}
		}
		if !bytes.Equal(load, want) {
			t.Error("the memory is not as expected")
		}
	})
}
