package bootimage

import (
	"fmt"
	"testing"
)

// TestPlacement is the table of where things go by size of the guest: the kernel at
// its preferred address, the initrd as high as it may.
func TestPlacement(t *testing.T) {
	const initrdSize = 5*mib + 1
	tests := []struct {
		mem    uint64
		kernel uint64
		initrd uint64
	}{
		// The kernel takes 16..32 MiB.
		{32 * mib, 16 * mib, 16*mib - 5*mib - pageSize}, // room below it only
		{36 * mib, 16 * mib, 16*mib - 5*mib - pageSize}, // 4 MiB above are too few
		{38 * mib, 16 * mib, 38*mib - 5*mib - pageSize},
		{64 * mib, 16 * mib, 64*mib - 5*mib - pageSize},
		{256 * mib, 16 * mib, 256*mib - 5*mib - pageSize},
		{gib, 16 * mib, gib - 5*mib - pageSize},
		{2 * gib, 16 * mib, 2*gib - 5*mib - pageSize},
		{2*gib + 64*mib, 16 * mib, 2*gib - 5*mib - pageSize}, // initrd_addr_max
		{3 * gib, 16 * mib, 2*gib - 5*mib - pageSize},
		{4 * gib, 16 * mib, 2*gib - 5*mib - pageSize},
		{64 * gib, 16 * mib, 2*gib - 5*mib - pageSize},
	}
	kernel, initrd := fakeKernel().build(), make([]byte, initrdSize)
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d MiB", tt.mem/mib), func(t *testing.T) {
			plan := mustLoad(t, kernel, Params{Initrd: initrd, Memory: guestMemory(tt.mem)})
			if got := segment(t, plan, "kernel").Addr; got != tt.kernel {
				t.Errorf("kernel at %#x, want %#x", got, tt.kernel)
			}
			if got := segment(t, plan, "initrd").Addr; got != tt.initrd {
				t.Errorf("initrd at %#x, want %#x", got, tt.initrd)
			}
		})
	}
}

// TestInitrdAtFixedAddressBeyondSmallGuestsRAM is named after a fault of other monitors: an initrd at an
// address fixed for large guests, which small ones have no RAM at.
func TestInitrdAtFixedAddressBeyondSmallGuestsRAM(t *testing.T) {
	initrd := make([]byte, mib)
	for _, kernel := range [][]byte{fakeKernel().build(), fakeVmlinux().build()} {
		for mem := uint64(32 * mib); mem <= 320*mib; mem += mib {
			p := Params{Initrd: initrd, Memory: guestMemory(mem)}
			plan := mustLoad(t, kernel, p) // checks that all of it is RAM
			if end := segment(t, plan, "initrd").Addr + mib; mem >= 33*mib && end != mem {
				t.Errorf("%v, %d MiB: the initrd ends at %#x", plan.Kind, mem/mib, end)
			}
		}
	}
}

func TestKernelPlacement(t *testing.T) {
	holed := []MemoryRange{
		{0, 0xa0000, RAM},
		{mib, 14 * mib, RAM}, // 15..16 MiB is the ISA hole
		{17 * mib, 5 * mib, RAM},
		{33 * mib, 31 * mib, RAM},
	}
	tests := []struct {
		name string
		mod  func(k *fakeBzImage)
		mem  []MemoryRange
		want uint64
		err  string
	}{
		{"next place above", func(k *fakeBzImage) {}, holed, 34 * mib, ""},
		{"not relocatable", func(k *fakeBzImage) { k.relocatable = 0 }, holed, 0,
			"the kernel needs 16 MiB of RAM in one piece from 0x1000000 on, and the memory map has none"},
		{"large alignment", func(k *fakeBzImage) { k.align = 32 * mib }, guestMemory(64 * mib), 32 * mib, ""},
		{"preferred address is not aligned", func(k *fakeBzImage) { k.prefAddress = 17 * mib }, guestMemory(64 * mib), 18 * mib, ""},
		{"fixed address is not aligned", func(k *fakeBzImage) { k.prefAddress, k.relocatable = 17*mib, 0 }, guestMemory(64 * mib), 17 * mib, ""},
		{"no preference", func(k *fakeBzImage) { k.prefAddress = 0 }, guestMemory(64 * mib), 2 * mib, ""},
		{"not below the preferred address", func(k *fakeBzImage) { k.prefAddress = 32 * mib }, guestMemory(40 * mib), 0,
			"the kernel needs 48 MiB of RAM, the guest has 40 MiB"},
		{"not above 4 GiB", func(k *fakeBzImage) { k.prefAddress = 3*gib - mib }, guestMemory(8 * gib), 0,
			"the kernel needs 3088 MiB of RAM below 4 GiB, the guest has 3072 MiB"},
		{"neighbouring ranges", func(k *fakeBzImage) {}, []MemoryRange{{0, 20 * mib, RAM}, {20 * mib, 12 * mib, RAM}}, 16 * mib, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := fakeKernel()
			tt.mod(&k)
			p := Params{Memory: tt.mem}
			if tt.err != "" {
				_, err := Load(k.build(), p)
				wantError(t, err, tt.err)
				return
			}
			if got := segment(t, mustLoad(t, k.build(), p), "kernel").Addr; got != tt.want {
				t.Errorf("kernel at %#x, want %#x", got, tt.want)
			}
		})
	}
}

func TestInitrdPlacement(t *testing.T) {
	above := fakeKernel()
	below := fakeKernel()
	below.xloadflags = xlfKernel64
	low := fakeKernel()
	low.initrdMax = 0x37ff_ffff
	tests := []struct {
		name   string
		kernel []byte
		size   uint64
		mem    uint64
		want   uint64
		err    string
	}{
		{"old kernel's limit", low.build(), mib, 4 * gib, 0x3800_0000 - mib, ""},
		{"last byte at the limit", below.build(), 2*gib - 32*mib, 4 * gib, 32 * mib, ""},
		{"over the limit, below 4 GiB", above.build(), 2 * gib, 3 * gib, gib, ""},
		{"over the limit, above 4 GiB", above.build(), 2 * gib, 8 * gib, 7 * gib, ""},
		{"size of more than 32 bits", above.build(), 5 * gib, 9 * gib, 5 * gib, ""},
		{"not above 4 GiB", below.build(), 2 * gib, 8 * gib, 0,
			"the initrd of 2048 MiB does not fit beside the kernel into RAM below 0x80000000"},
		{"vmlinux stays below 4 GiB", fakeVmlinux().build(), 2 * gib, 8 * gib, gib, ""},
		{"vmlinux cannot go above", fakeVmlinux().build(), 3 * gib, 8 * gib, 0,
			"the initrd of 3072 MiB does not fit beside the kernel into RAM below 0x100000000"},
		{"larger than RAM", above.build(), 65 * mib, 64 * mib, 0,
			"the initrd of 65 MiB is larger than the guest's RAM of 64 MiB"},
		{"no room", above.build(), 40 * mib, 64 * mib, 0,
			"the initrd of 40 MiB does not fit beside the kernel into RAM below 0x4000000"},
		{"fills the gap", above.build(), 15 * mib, 32 * mib, mib, ""},
		{"one byte too many", above.build(), 15*mib + 1, 32 * mib, 0,
			"the initrd of 16 MiB does not fit beside the kernel into RAM below 0x2000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Params{Initrd: untouched(t, tt.size), Memory: guestMemory(tt.mem)}
			if tt.err != "" {
				_, err := Load(tt.kernel, p)
				wantError(t, err, tt.err)
				return
			}
			plan := mustLoad(t, tt.kernel, p)
			if got := segment(t, plan, "initrd").Addr; got != tt.want {
				t.Errorf("initrd at %#x, want %#x", got, tt.want)
			}
			if plan.Kind == BzImage {
				b := segment(t, plan, "boot_params").Data
				addr := uint64(le32(b, offRamdiskImage)) | uint64(le32(b, offExtRamdisk))<<32
				size := uint64(le32(b, offRamdiskSize)) | uint64(le32(b, offExtRamdiskSz))<<32
				if addr != tt.want || size != tt.size {
					t.Errorf("boot_params say %#x, %#x bytes", addr, size)
				}
			}
		})
	}
}

func TestMemoryMapErrors(t *testing.T) {
	many := make([]MemoryRange, 129)
	for i := range many {
		many[i] = MemoryRange{uint64(i) * mib, mib, RAM}
	}
	tests := []struct {
		name string
		mem  []MemoryRange
		want string
	}{
		{"none", nil, "the memory map has no RAM"},
		{"too many", many, "the memory map has 129 entries, the boot protocol takes at most 128"},
		{"empty range", []MemoryRange{{0, 0, RAM}}, "the memory map's entry 0 is no valid range: address 0x0, size 0x0"},
		{"wraps", []MemoryRange{{^uint64(0), 2, RAM}}, "the memory map's entry 0 is no valid range: address 0xffffffffffffffff, size 0x2"},
		{"overlap", []MemoryRange{{0, 64 * mib, RAM}, {mib, mib, Reserved}}, "the memory map's entry 1 at 0x100000 is not above the one before it"},
		{"not sorted", []MemoryRange{{mib, mib, RAM}, {0, mib, RAM}}, "the memory map's entry 1 at 0x0 is not above the one before it"},
		{"no low RAM", []MemoryRange{{mib, 64 * mib, RAM}}, "the memory map has no RAM at 0x20000 for the command line"},
		{"little low RAM", []MemoryRange{{0x8000, 64 * mib, RAM}}, "the memory map has no RAM at 0x7000 for the boot parameters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(fakeKernel().build(), Params{Memory: tt.mem})
			wantError(t, err, tt.want)
		})
	}
	mustLoad(t, fakeKernel().build(), Params{Memory: many[:128]})
	mustLoad(t, fakeVmlinux().build(), Params{Memory: many[:128]})
}
