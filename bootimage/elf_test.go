package bootimage

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestLoadVmlinux(t *testing.T) {
	e := fakeVmlinux()
	// A vmlinux's header order need not be that of the addresses.
	e.loads[0], e.loads[1] = e.loads[1], e.loads[0]
	initrd := []byte("initial RAM disk")
	p := Params{Cmdline: "quiet", Initrd: initrd, Memory: guestMemory(64 * mib), RSDP: 0xe0000}
	plan := mustLoad(t, e.build(), p)

	if plan.Kind != Vmlinux || plan.Version != "" {
		t.Errorf("kind %v, version %q", plan.Kind, plan.Version)
	}
	if want := (Entry{PVH, 16*mib + 4, 0x6000}); plan.Entry != want {
		t.Errorf("entry %+v, want %+v", plan.Entry, want)
	}
	want := []Segment{
		{16 * mib, []byte("text of the kernel"), 0x1000, "kernel", FromKernel, 64 + 3*56 + 4, false},
		{18 * mib, []byte("data"), 6 * mib, "kernel", FromKernel, 64 + 3*56, false},
		{64*mib - pageSize, initrd, uint64(len(initrd)), "initrd", FromInitrd, 0, false},
		{0x6000, startInfo(64*mib-pageSize, p), uint64(0x80 + 4*24), "start_info", Made, 0, false},
		{0x20000, []byte("quiet\x00"), 6, "command line", Made, 0, false},
	}
	if len(plan.Segments) != len(want) {
		t.Fatalf("%d segments, want %d", len(plan.Segments), len(want))
	}
	for i, w := range want {
		g := plan.Segments[i]
		if g.Addr != w.Addr || g.Size != w.Size || g.Name != w.Name || g.Source != w.Source || g.Offset != w.Offset || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("segment %d: %q at %#x, size %#x, want %q at %#x, size %#x", i, g.Name, g.Addr, g.Size, w.Name, w.Addr, w.Size)
		}
	}
}

// TestInitrdStaysOutOfGaps holds that the initrd does not go between the segments:
// Linux frees the gaps in its image.
func TestInitrdStaysOutOfGaps(t *testing.T) {
	p := Params{Initrd: make([]byte, mib), Memory: guestMemory(24*mib + 512<<10)}
	plan := mustLoad(t, fakeVmlinux().build(), p) // 17 to 18 MiB is a gap
	if got := segment(t, plan, "initrd").Addr; got != 15*mib {
		t.Errorf("initrd at %#x, want %#x", got, 15*mib)
	}
}

func TestPVHNote(t *testing.T) {
	le := binary.LittleEndian
	desc4 := le.AppendUint32(nil, 16*mib+8)
	desc8 := le.AppendUint64(nil, 16*mib+8)
	tests := []struct {
		name  string
		notes []byte
		align uint64
		err   string
	}{
		{"4 bytes", elfNote("Xen", 18, desc4, 4), 4, ""},
		{"8 bytes", elfNote("Xen", 18, desc8, 4), 4, ""},
		{"alignment of 8", append(elfNote("GNU", 5, []byte{1}, 8), elfNote("Xen", 18, desc8, 8)...), 8, ""},
		{"behind other Xen notes", append(elfNote("Xen", 6, []byte("linux\x00"), 4), elfNote("Xen", 18, desc8, 4)...), 4, ""},
		{"p_align of 1", elfNote("Xen", 18, desc4, 4), 1, ""},
		{"no notes", []byte{}, 4, "ELF file without a PVH entry note; a Linux vmlinux has one if built with CONFIG_PVH=y"},
		{"other owner", elfNote("XEN", 18, desc8, 4), 4, "ELF file without a PVH entry note; a Linux vmlinux has one if built with CONFIG_PVH=y"},
		{"other type", elfNote("Xen", 19, desc8, 4), 4, "ELF file without a PVH entry note; a Linux vmlinux has one if built with CONFIG_PVH=y"},
		{"sizes beyond the segment", bytes.Repeat([]byte{0xff}, 24), 4, "ELF file without a PVH entry note; a Linux vmlinux has one if built with CONFIG_PVH=y"},
		{"odd size", elfNote("Xen", 18, []byte{1, 2}, 4), 4, "ELF file with a PVH entry note of 2 bytes instead of 4 or 8"},
		{"nowhere", elfNote("Xen", 18, make([]byte, 8), 4), 4, "ELF file whose PVH entry 0x0 lies in none of its segments"},
		{"into the BSS", elfNote("Xen", 18, le.AppendUint64(nil, 19*mib), 4), 4, "ELF file whose PVH entry 0x1300000 lies in none of its segments"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := fakeVmlinux()
			e.notes, e.noteAlign = tt.notes, tt.align
			p := Params{Memory: guestMemory(64 * mib)}
			if tt.err != "" {
				_, err := Load(e.build(), p)
				wantError(t, err, tt.err)
				return
			}
			if got := mustLoad(t, e.build(), p).Entry.PC; got != 16*mib+8 {
				t.Errorf("entry at %#x", got)
			}
		})
	}
}

func TestELFErrors(t *testing.T) {
	tests := []struct {
		name string
		mod  func(e *fakeELF)
		mem  uint64
		want string
	}{
		{"arm64", func(e *fakeELF) { e.machine = 183 }, gib, "ELF file for arm64, not an x86-64 kernel"},
		{"i386", func(e *fakeELF) { e.class, e.machine = 1, 3 }, gib, "ELF file for 32-bit x86, not an x86-64 kernel"},
		{"unknown machine", func(e *fakeELF) { e.machine = 999 }, gib, "ELF file for machine type 999, not an x86-64 kernel"},
		{"x32", func(e *fakeELF) { e.class = 1 }, gib, "32-bit ELF file, not an x86-64 kernel"},
		{"big-endian", func(e *fakeELF) { e.data = 2 }, gib, "big-endian ELF file, not an x86-64 kernel"},
		{"object", func(e *fakeELF) { e.typ = 1 }, gib, "ELF file of type 1, not an executable kernel"},
		{"nothing", func(e *fakeELF) { e.loads = nil }, gib, "ELF file without anything to load"},
		{"no program headers", func(e *fakeELF) { e.loads, e.notes = nil, nil }, gib, "ELF file with 0 program headers; a kernel has 1 to 64"},
		{"many program headers", func(e *fakeELF) { e.loads = make([]fakeLoad, 64) }, gib, "ELF file with 65 program headers; a kernel has 1 to 64"},
		{"overlap", func(e *fakeELF) { e.loads[0].memSize = 2*mib + 1 }, gib, "ELF file with overlapping segments at 0x1000000..0x1200001 and 0x1200000..0x1800000"},
		{"same address", func(e *fakeELF) { e.loads[1].paddr = 16 * mib }, gib, "ELF file with overlapping segments at 0x1000000..0x1001000 and 0x1000000..0x1600000"},
		{"memory smaller than file", func(e *fakeELF) { e.loads[0].memSize = 1 }, gib, "ELF file whose segment 0 has 18 bytes in the file, but 1 in memory"},
		{"wraps", func(e *fakeELF) { e.loads[1].paddr = ^uint64(0) - 100 }, gib, "ELF file whose segment 1 at 0xffffffffffffff9b is 0x600000 bytes long"},
		{"boot data", func(e *fakeELF) { e.loads[1].paddr = 0x7000 }, gib, "ELF file with a segment at 0x7000..0x607000, in the low memory that boot data takes"},
		{"above 4 GiB", func(e *fakeELF) { e.loads[1].paddr = 4 * gib }, 8 * gib, "ELF file with a segment at 0x100000000..0x100600000, above 4 GiB"},
		{"not in RAM", func(e *fakeELF) { e.loads[1].paddr = 3*gib - mib }, 8 * gib, "the kernel needs 3077 MiB of RAM below 4 GiB, the guest has 3072 MiB"},
		{"small guest", func(e *fakeELF) {}, 23 * mib, "the kernel needs 24 MiB of RAM, the guest has 23 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := fakeVmlinux()
			tt.mod(&e)
			_, err := Load(e.build(), Params{Memory: guestMemory(tt.mem)})
			wantError(t, err, tt.want)
		})
	}
}

func TestELFInMemoryHole(t *testing.T) {
	mem := []MemoryRange{{0, 0xa0000, RAM}, {mib, 17 * mib, RAM}, {19 * mib, 45 * mib, RAM}}
	_, err := Load(fakeVmlinux().build(), Params{Memory: mem})
	wantError(t, err, "ELF file with a segment at 0x1200000..0x1800000, where the guest has no RAM")
}

func TestTruncatedELF(t *testing.T) {
	file := fakeVmlinux().build()
	p := Params{Memory: guestMemory(64 * mib)}
	for n, want := range map[int]string{
		5:             "truncated ELF file: 5 bytes",
		63:            "truncated ELF file: 63 bytes",
		100:           "truncated ELF file: 100 bytes, the program headers end beyond",
		240:           "truncated ELF file: 240 bytes, segment 0 ends beyond",
		len(file) - 1: "truncated ELF file: 301 bytes, segment 2 ends beyond",
	} {
		_, err := Load(file[:n], p)
		wantError(t, err, want)
	}
	huge := bytes.Clone(file)
	binary.LittleEndian.PutUint64(huge[elfProgOffset:], ^uint64(0)-8)
	_, err := Load(huge, p)
	wantError(t, err, "truncated ELF file: 302 bytes, the program headers end beyond")
	huge = bytes.Clone(file)
	huge[elfProgEntry] = 32
	_, err = Load(huge, p)
	wantError(t, err, "ELF file with program headers of 32 bytes instead of 56")
}
