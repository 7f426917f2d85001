package machine

import (
	"fmt"
	"testing"

	"govmm/bootimage"
	"govmm/machine/memory"
)

// TestE820 holds that the map is sorted and free of overlaps, that it gives the guest its RAM
// but for what lies at and below 1 MiB, and that nothing usable lies in the hole.
func TestE820(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, size := range []uint64{32 * mib, 128 * mib, gib, 3 * gib, 3*gib + mib, 4 * gib, 6 * gib, 64 * gib} {
		t.Run(fmt.Sprintf("%dMiB", size/mib), func(t *testing.T) {
			ram, err := memory.Layout(size, holeStart, holeEnd)
			if err != nil {
				t.Fatal(err)
			}
			table, err := e820(ram)
			if err != nil {
				t.Fatal(err)
			}
			var usable, last uint64
			for _, r := range table {
				if r.Addr < last {
					t.Errorf("%#x comes after %#x", r.Addr, last)
				}
				last = r.Addr + r.Size
				if r.Type != bootimage.RAM {
					continue
				}
				usable += r.Size
				if r.Addr < holeEnd && last > holeStart {
					t.Errorf("RAM in the hole: %#x to %#x", r.Addr, last)
				}
			}
			if want := size - (highRAM - conventionalEnd); usable != want {
				t.Errorf("%d bytes are usable, want %d", usable, want)
			}
		})
	}
}

func TestE820TooSmall(t *testing.T) {
	for _, ram := range [][]memory.Range{nil, {{Base: 0, Size: 1 << 20}}, {{Base: 4096, Size: 1 << 30}}} {
		if _, err := e820(ram); err == nil {
			t.Errorf("%v: no error", ram)
		}
	}
}

// TestAddressMap holds that what the machine puts below 1 MiB and into the hole keeps apart.
func TestAddressMap(t *testing.T) {
	regions := []struct {
		name       string
		start, end uint64
	}{
		{"GDT", gdtAddr, gdtAddr + 48},
		{"PVH start info", 0x6000, 0x7000},
		{"boot_params", 0x7000, 0x8000},
		{"page tables", pageTablesAddr, pageTablesAddr + uint64(len(identityPageTables()))},
		{"command line", 0x20000, 0x30000},
		{"EBDA", conventionalEnd, 0xa0000},
		{"ACPI", acpiBase, acpiLimit},
		{"RAM above 1 MiB", highRAM, holeStart},
		{"virtio", virtioMMIOBase, virtioAddr(len(virtioGSIs))},
		{"I/O APIC", ioapicAddr, ioapicAddr + 0x1000},
		{"local APIC", localAPICAddr, localAPICAddr + 0x1000},
		{"identity map", identityMapAddr, identityMapAddr + 0x1000},
		{"TSS", tssAddr, tssAddr + 0x3000},
	}
	for i := 1; i < len(regions); i++ {
		if prev, r := regions[i-1], regions[i]; r.start < prev.end {
			t.Errorf("%s at %#x overlaps %s, which ends at %#x", r.name, r.start, prev.name, prev.end)
		}
	}
}
