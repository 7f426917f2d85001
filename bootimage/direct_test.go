package bootimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// fakeUnpacked is the kernel inside a fakeKernel: an ELF file and, behind it, relocation
// tables with one place of each kind, all in its first segment.
func fakeUnpacked() []byte {
	e := fakeVmlinux()
	e.loads[0].data = bytes.Repeat([]byte{0x90}, 64)
	e.loads[1].memSize = 6 * mib
	b := e.build()
	binary.LittleEndian.PutUint64(b[elfEntry:], 16*mib+16)
	for _, v := range []uint32{0, 0x8100_0020, 0, 0x8100_0010, 0, 0x8100_0000} { // 64-bit, inverse, 32-bit
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func seeded(n uint64) io.Reader { return rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}) }

func TestDirect(t *testing.T) {
	file, unpacked := fakeKernel().build(), fakeUnpacked()
	p := Params{Initrd: []byte("initrd"), Memory: guestMemory(64 * mib), Unpacked: unpacked}
	plan := mustLoad(t, file, p)
	if !plan.Direct || plan.Randomized || plan.Relocation != nil || plan.Version != fakeKernel().version {
		t.Errorf("plan %+v", plan)
	}
	if want := (Entry{Linux64, 16*mib + 16, 0x7000}); plan.Entry != want {
		t.Errorf("entry %+v, want %+v", plan.Entry, want)
	}
	for _, s := range plan.Segments {
		if s.Source == FromUnpacked && !bytes.Equal(s.Data, unpacked[s.Offset:][:len(s.Data)]) {
			t.Errorf("segment at %#x is not from offset %#x", s.Addr, s.Offset)
		}
		if s.Source == FromKernel {
			t.Errorf("%s at %#x: the decompressor is not wanted", s.Name, s.Addr)
		}
	}
	if b := segment(t, plan, "boot_params").Data; b[offLoadflags]&kaslrFlag != 0 || le64(b, offSetupData) != 0 {
		t.Error("KASLR_FLAG or setup_data without Random")
	}
}

// TestMapping holds that the mapping is that of the segments, and has what lies between them.
func TestMapping(t *testing.T) {
	direct := mustLoad(t, fakeKernel().build(), Params{Memory: guestMemory(64 * mib), Unpacked: fakeUnpacked()})
	elf := mustLoad(t, fakeVmlinux().build(), Params{Memory: guestMemory(64 * mib)})
	for _, plan := range []*Plan{direct, elf} {
		m := plan.Mapping
		if m.Virt < 1<<63 || m.Phys != 16*mib || m.Size < 2*mib || m.Delta != 0 {
			t.Errorf("%v: %+v", plan.Kind, m)
		}
		for _, off := range []uint64{0, 1, m.Size - 1} {
			if phys, ok := m.Find(m.Virt + off); !ok || phys != m.Phys+off {
				t.Errorf("%#x into it: %#x, %v", off, phys, ok)
			}
		}
		for _, virt := range []uint64{0, m.Phys, m.Virt - 1, m.Virt + m.Size, ^uint64(0)} {
			if phys, ok := m.Find(virt); ok {
				t.Errorf("%#x lies in %+v, at %#x", virt, m, phys)
			}
		}
	}
	if m := mustLoad(t, fakeKernel().build(), Params{Memory: guestMemory(64 * mib)}).Mapping; m != (Mapping{}) {
		t.Errorf("a kernel that unpacks itself: %+v", m)
	}
}

// TestRandomized holds that places are many, legal, and told to the kernel.
func TestRandomized(t *testing.T) {
	k := fakeKernel()
	p := Params{Initrd: make([]byte, 5*mib), Memory: guestMemory(256 * mib), Unpacked: fakeUnpacked()}
	phys, virt := make(map[uint64]bool), make(map[uint64]bool)
	for i := range uint64(500) {
		p.Random = seeded(i)
		plan := mustLoad(t, k.build(), p)
		at := segment(t, plan, "kernel").Addr
		delta := uint64(0)
		if plan.Relocation != nil {
			delta = plan.Relocation.Delta
			if plan.Relocation.Addr != at || plan.Relocation.Size != 2*mib+4 {
				t.Fatalf("relocation of %#x bytes at %#x", plan.Relocation.Size, plan.Relocation.Addr)
			}
		}
		initrd := segment(t, plan, "initrd")
		kernel := span{at, at + uint64(k.initSize)}
		if !plan.Randomized || at < 16*mib || at%(2*mib) != 0 || kernel.end > 256*mib || kernel.overlaps(span{initrd.Addr, initrd.Addr + initrd.Size}) {
			t.Fatalf("kernel at %v, initrd at %#x", kernel, initrd.Addr)
		}
		if delta%(2*mib) != 0 || 16*mib+delta+uint64(k.initSize) > gib {
			t.Fatalf("mapped %#x higher", delta)
		}
		m := plan.Mapping
		if last, ok := m.Find(m.Virt + m.Size - 1); m.Phys != at || m.Delta != delta || !ok || last != at+m.Size-1 {
			t.Fatalf("the kernel at %#x is mapped by %+v", at, m)
		}
		if plan.Entry.PC != at+16 {
			t.Fatalf("entry %#x", plan.Entry.PC)
		}
		if b := segment(t, plan, "boot_params").Data; b[offLoadflags]&kaslrFlag == 0 {
			t.Fatal("no KASLR_FLAG")
		}
		phys[at], virt[delta] = true, true
	}
	if len(phys) < 100 || len(virt) < 300 {
		t.Errorf("%d physical and %d virtual places in 500 boots", len(phys), len(virt))
	}
}

func TestRelocationApplies(t *testing.T) {
	p := Params{Memory: guestMemory(256 * mib), Unpacked: fakeUnpacked(), Random: seeded(1)}
	plan := mustLoad(t, fakeKernel().build(), p)
	load := make([]byte, plan.Relocation.Size)
	if err := plan.Relocation.Apply(load); err != nil {
		t.Fatal(err)
	}
	d := plan.Relocation.Delta
	if le32(load, 0) != uint32(d) || le32(load, 0x10) != -uint32(d) || le64(load, 0x20) != d {
		t.Errorf("relocated by %#x: % x", d, load[:0x28])
	}
	if err := plan.Relocation.Apply(load[:8]); err == nil {
		t.Error("a place outside of the kernel was relocated")
	}
}

// TestChangedBlocks has a kernel whose second block of 2 MiB is full of places, and the others nearly empty: it is
// a segment of its own, and nothing is lost or moved.
func TestChangedBlocks(t *testing.T) {
	const blocks = 5
	e := fakeVmlinux()
	data := make([]byte, blocks*changeBlock)
	rand.NewChaCha8([32]byte{}).Read(data)
	e.loads = []fakeLoad{{paddr: 16 * mib, data: data, memSize: uint64(len(data)) + 3*mib}}
	e.notes = nil
	unpacked := e.build()
	binary.LittleEndian.PutUint64(unpacked[elfEntry:], 16*mib)
	unpacked = binary.LittleEndian.AppendUint32(unpacked, 0)
	for _, table := range [][]uint32{{0x8100_0000}, {0x8100_0000 + 2*changeBlock}} { // 64-bit; 32-bit below
		for _, v := range table {
			unpacked = binary.LittleEndian.AppendUint32(unpacked, v)
		}
		unpacked = binary.LittleEndian.AppendUint32(unpacked, 0)
	}
	unpacked = unpacked[:len(unpacked)-4]
	for page := range uint32(changeBlock/pageSize/2 + 1) {
		unpacked = binary.LittleEndian.AppendUint32(unpacked, 0x8100_0000+changeBlock+page*pageSize)
	}
	k := fakeKernel()
	plan := mustLoad(t, k.build(), Params{Memory: guestMemory(256 * mib), Unpacked: unpacked, Random: seeded(1)})
	var got []byte
	var changed []bool
	next := plan.Relocation.Addr
	for _, s := range plan.Segments {
		if s.Source != FromUnpacked {
			continue
		}
		if s.Addr != next || len(s.Data) > 0 && &s.Data[0] != &unpacked[s.Offset] {
			t.Errorf("segment at %#x, from offset %#x", s.Addr, s.Offset)
		}
		next = s.Addr + s.Size
		got, changed = append(got, s.Data...), append(changed, s.Changed)
	}
	if !bytes.Equal(got, data) || next != plan.Relocation.Addr+uint64(len(data))+3*mib {
		t.Errorf("%d bytes of %d, to %#x", len(got), len(data), next)
	}
	if want := []bool{false, true, false}; !slices.Equal(changed, want) {
		t.Errorf("changed: %v", changed)
	}
}

// TestUsualPlace holds when a kernel is not moved, or only virtually.
func TestUsualPlace(t *testing.T) {
	unpacked := fakeUnpacked()
	bare := unpacked[:len(unpacked)-6*4]
	fixed := fakeKernel()
	fixed.relocatable = 0
	for _, tt := range []struct {
		name       string
		kernel     fakeBzImage
		cmdline    string
		unpacked   []byte
		ram        uint64
		randomized bool
	}{
		{"nokaslr", fakeKernel(), "quiet nokaslr", unpacked, 256 * mib, false},
		{"nokaslr for init", fakeKernel(), "quiet -- nokaslr", unpacked, 256 * mib, false},
		{"a part of a word", fakeKernel(), "nokaslr=0 xnokaslr", unpacked, 32 * mib, true},
		{"no tables", fakeKernel(), "", bare, 256 * mib, false},
		{"not relocatable", fixed, "", unpacked, 256 * mib, false},
		{"mem=", fakeKernel(), "mem=64M", unpacked, 256 * mib, true},
		{"memmap=", fakeKernel(), "memmap=16M$128M", unpacked, 256 * mib, true},
		{"little RAM", fakeKernel(), "", unpacked, 32 * mib, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Params{Cmdline: tt.cmdline, Memory: guestMemory(tt.ram), Unpacked: tt.unpacked, Random: seeded(3)}
			plan := mustLoad(t, tt.kernel.build(), p)
			if at := segment(t, plan, "kernel").Addr; at != 16*mib || plan.Randomized != tt.randomized {
				t.Errorf("at %#x, randomized: %v", at, plan.Randomized)
			}
			if (plan.Relocation != nil) != tt.randomized {
				t.Errorf("relocation %v", plan.Relocation)
			}
		})
	}
}

// TestSeed holds that both ways to boot a bzImage give the kernel a seed of its own.
func TestSeed(t *testing.T) {
	seen := make(map[string]bool)
	for i, unpacked := range [][]byte{nil, fakeUnpacked(), fakeUnpacked()} {
		p := Params{Memory: guestMemory(64 * mib), Unpacked: unpacked, Random: seeded(uint64(i))}
		plan := mustLoad(t, fakeKernel().build(), p)
		s := segment(t, plan, "random seed")
		if at := le64(segment(t, plan, "boot_params").Data, offSetupData); at != s.Addr {
			t.Errorf("setup_data at %#x, not %#x", at, s.Addr)
		}
		if le64(s.Data, 0) != 0 || le32(s.Data, 8) != 9 || le32(s.Data, 12) != 32 || len(s.Data) != 16+32 {
			t.Errorf("setup_data % x", s.Data)
		}
		seen[string(s.Data[16:])] = true
	}
	if len(seen) != 3 {
		t.Error("the same seed twice")
	}
}

func TestIndirect(t *testing.T) {
	patched := func(patch func(b []byte)) []byte {
		b := fakeUnpacked()
		patch(b)
		return b
	}
	outside := fakeVmlinux()
	outside.loads[1].paddr = 40 * mib
	for name, unpacked := range map[string][]byte{
		"text":      []byte("no ELF file at all, however long it may be, so much is sure from its first bytes"),
		"truncated": fakeUnpacked()[:100],
		"entry":     patched(func(b []byte) { b[elfEntry+3] = 0x70 }),
		"32-bit":    patched(func(b []byte) { b[elfClass] = 1 }),
		"elsewhere": outside.build(),
	} {
		_, err := Load(fakeKernel().build(), Params{Memory: guestMemory(256 * mib), Unpacked: unpacked})
		if !errors.Is(err, ErrIndirect) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDirect loads an unpacked kernel that may be anything, and relocates it.
func FuzzDirect(f *testing.F) {
	f.Add(fakeUnpacked())
	f.Add(fakeVmlinux().build())
	file := fakeKernel().build()
	f.Fuzz(func(t *testing.T, unpacked []byte) {
		unpacked = bytes.Clone(unpacked) // the fuzzer's own must stay
		Trim(unpacked)
		p := Params{Initrd: []byte("initrd"), Memory: guestMemory(64 * mib), Unpacked: unpacked, Random: seeded(7)}
		plan, err := Load(file, p)
		if err != nil {
			if msg := err.Error(); msg == "" || strings.ContainsAny(msg, "\n\r\x1b") {
				t.Errorf("error message %q", msg)
			}
			return
		}
		checkPlan(t, plan, p)
		if r := plan.Relocation; r != nil {
			_ = r.Apply(make([]byte, r.Size)) // an error is as good
		}
	})
}
