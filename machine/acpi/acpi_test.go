package acpi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

// testConfig is a machine with so many processors and virtio devices, its tables
// where PCs have their BIOS.
func testConfig(processors, virtio int) Config {
	c := Config{
		Base:          0xe0000,
		Limit:         0x100000,
		LocalAPICAddr: 0xfee00000,
		IOAPIC:        IOAPIC{ID: 0, Addr: 0xfec00000, GSIBase: 0},
		Overrides: []Override{
			{ISA: 0, GSI: 2},
			{ISA: 9, GSI: 9, Flags: EdgeActiveHigh},
		},
		SCI:         9,
		PM1Event:    0x600,
		PM1Control:  0x604,
		ResetPort:   0xcf9,
		ResetValue:  6,
		S5SleepType: 5,
		Serial:      []Serial{{Port: 0x3f8, Size: 8, IRQ: 4}},
		RTCPort:     0x70,
	}
	for id := range processors {
		c.APICIDs = append(c.APICIDs, uint32(id))
	}
	for i := range virtio {
		c.VirtioMMIO = append(c.VirtioMMIO, MMIO{
			Base: 0xd0000000 + uint64(i)*0x1000,
			Size: 0x1000,
			GSI:  16 + uint32(i),
		})
	}
	return c
}

// pciConfig is testConfig with a PCI bus in place of virtio-mmio devices.
func pciConfig(processors int) Config {
	c := testConfig(processors, 0)
	c.PCI = &PCI{ECAM: 0xe0000000, Memory: Window{0xc0000000, 0x10000000}, Ports: Window{0x1000, 0xf000}}
	return c
}

// A foundTable is a table that a system reaches from the RSDP.
type foundTable struct {
	name string
	addr uint64
	data []byte
}

// follow finds the tables as a system does, by addresses at the offsets that the
// specification gives, and checks what a system would: signatures, lengths,
// checksums, and that everything lies where it was allowed to.
func follow(t *testing.T, c Config, tables *Tables) []foundTable {
	t.Helper()
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	end := c.Base + uint64(len(tables.Data))
	if end > c.Limit {
		t.Fatalf("tables end at %#x, behind the limit %#x", end, c.Limit)
	}
	at := func(addr uint64, n int) []byte {
		t.Helper()
		if addr < c.Base || addr+uint64(n) > end {
			t.Fatalf("table at %#x, %d bytes, is not in [%#x, %#x)", addr, n, c.Base, end)
		}
		return tables.Data[addr-c.Base:][:n]
	}
	open := func(name string, addr uint64) foundTable {
		t.Helper()
		data := at(addr, int(u32(at(addr, 36)[4:])))
		if string(data[:4]) != name {
			t.Fatalf("table at %#x is %q, want %q", addr, data[:4], name)
		}
		if name != "FACS" && sum(data) != 0 {
			t.Errorf("%s: bytes sum up to %#x, want 0", name, sum(data))
		}
		return foundTable{name, addr, data}
	}

	rsdp := foundTable{"RSDP", tables.RSDP, at(tables.RSDP, 36)}
	if string(rsdp.data[:8]) != "RSD PTR " || tables.RSDP%16 != 0 {
		t.Fatalf("no RSDP at %#x: % x", tables.RSDP, rsdp.data)
	}
	if sum(rsdp.data[:20]) != 0 || sum(rsdp.data) != 0 {
		t.Errorf("RSDP: checksums %#x, %#x, want 0", sum(rsdp.data[:20]), sum(rsdp.data))
	}
	xsdt := open("XSDT", u64(rsdp.data[24:]))
	entries := 2
	if c.PCI != nil {
		entries++
	}
	if len(xsdt.data) != 36+entries*8 {
		t.Fatalf("XSDT has %d bytes, want %d entries", len(xsdt.data), entries)
	}
	fadt := open("FACP", u64(xsdt.data[36:]))
	madt := open("APIC", u64(xsdt.data[44:]))
	if len(fadt.data) != 276 {
		t.Fatalf("FADT has %d bytes, want 276", len(fadt.data))
	}
	facs := open("FACS", uint64(u32(fadt.data[36:])))
	dsdt := open("DSDT", u64(fadt.data[140:]))
	if facs.addr%64 != 0 || len(facs.data) != 64 {
		t.Errorf("FACS has %d bytes at %#x, want 64 bytes aligned to 64", len(facs.data), facs.addr)
	}
	if uint64(u32(fadt.data[40:])) != dsdt.addr {
		t.Errorf("FADT: DSDT is %#x and X_DSDT %#x", u32(fadt.data[40:]), dsdt.addr)
	}
	found := []foundTable{rsdp, xsdt, fadt, facs, dsdt, madt}
	if c.PCI != nil {
		found = append(found, open("MCFG", u64(xsdt.data[52:])))
	}
	return found
}

func sum(b []byte) (s uint8) {
	for _, v := range b {
		s += v
	}
	return s
}

func mustBuild(t *testing.T, c Config) *Tables {
	t.Helper()
	tables, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestGolden(t *testing.T) {
	for _, processors := range []int{1, 2, 16} {
		golden(t, fmt.Sprintf("%dcpu-0virtio", processors), testConfig(processors, 0))
		golden(t, fmt.Sprintf("%dcpu-4virtio", processors), testConfig(processors, 4))
	}
	golden(t, "2cpu-pci", pciConfig(2))
}

// golden compares the tables of c with those in a file.
func golden(t *testing.T, name string, c Config) {
	t.Run(name, func(t *testing.T) {
		var got strings.Builder
		for _, table := range follow(t, c, mustBuild(t, c)) {
			fmt.Fprintf(&got, "%s at %#x, %d bytes\n%s\n", table.name, table.addr, len(table.data), hex.Dump(table.data))
		}
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got.String()), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		compareLines(t, file, got.String(), string(want))
	})
}

// compareLines reports the first line in which got differs from want.
func compareLines(t *testing.T, file, got, want string) {
	t.Helper()
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		var g, w string
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if g != w {
			t.Fatalf("line %d of %s differs (run with -update if that is right)\n got %s\nwant %s", i+1, file, g, w)
		}
	}
}

func TestBuildIsRepeatable(t *testing.T) {
	c := testConfig(4, 4)
	if a, b := mustBuild(t, c), mustBuild(t, c); !bytes.Equal(a.Data, b.Data) {
		t.Error("the same Config gave different tables")
	}
}

// The fields of the FADT that a system acts on, at the specification's offsets.
func TestFADT(t *testing.T) {
	c := testConfig(1, 0)
	get := func(c Config) []byte { return follow(t, c, mustBuild(t, c))[2].data }
	tests := []struct {
		field  string
		offset int
		want   string // hexadecimal, as in memory
	}{
		{"SCI_INT", 46, "0900"},
		{"SMI_CMD", 48, "00000000"},
		{"PM1a_EVT_BLK", 56, "00060000"},
		{"PM1a_CNT_BLK", 64, "04060000"},
		{"PM_TMR_BLK", 76, "00000000"},
		{"PM1_EVT_LEN, PM1_CNT_LEN, PM2_CNT_LEN, PM_TMR_LEN", 88, "04020000"},
		{"CENTURY", 108, "32"},
		{"IAPC_BOOT_ARCH", 109, "0500"},
		{"Flags", 112, "65140000"},
		{"RESET_REG", 116, "01080001" + "f90c000000000000"},
		{"RESET_VALUE", 128, "06"},
		{"X_FIRMWARE_CTRL", 132, "0000000000000000"},
		{"X_PM1a_EVT_BLK", 148, "01200002" + "0006000000000000"},
		{"X_PM1a_CNT_BLK", 172, "01100002" + "0406000000000000"},
		{"X_PM_TMR_BLK", 208, "000000000000000000000000"},
	}
	table := get(c)
	for _, tt := range tests {
		if got := hex.EncodeToString(table[tt.offset:][:len(tt.want)/2]); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.field, got, tt.want)
		}
	}

	c.RTCPort = 0
	table = get(c)
	if century, arch := table[108], table[109]; century != 0 || arch != 0x25 {
		t.Errorf("without a clock CENTURY is %#x and IAPC_BOOT_ARCH %#x, want 0 and 0x25", century, arch)
	}
}

// Each processor has an entry in the MADT: short below id 255, long from there on.
func TestProcessorEntries(t *testing.T) {
	c := testConfig(0, 0)
	c.APICIDs = []uint32{0, 7, 254, 255, 256, 0xfffffffe}
	madt := follow(t, c, mustBuild(t, c))[5].data
	want := strings.Join([]string{
		"0008" + "00" + "00" + "01000000",
		"0008" + "07" + "07" + "01000000",
		"0008" + "fe" + "fe" + "01000000",
		"0910" + "0000" + "ff000000" + "01000000" + "ff000000",
		"0910" + "0000" + "00010000" + "01000000" + "00010000",
		"0910" + "0000" + "feffffff" + "01000000" + "feffffff",
		"010c" + "00" + "00" + "0000c0fe" + "00000000",
		"020a" + "00" + "00" + "02000000" + "0000",
		"020a" + "00" + "09" + "09000000" + "0500",
	}, "")
	if got := hex.EncodeToString(madt[44:]); got != want {
		t.Errorf("entries\n got %s\nwant %s", got, want)
	}
}

func TestRoom(t *testing.T) {
	c := testConfig(300, 64)
	c.Limit = c.Base + 128<<10
	follow(t, c, mustBuild(t, c))

	c = testConfig(1, 1000)
	c.Limit = c.Base + 32<<10
	if _, err := Build(c); err == nil || !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("1000 virtio devices in 32 KiB: error %v", err)
	}

	// The last byte may be used, and no byte behind it.
	c = testConfig(2, 4)
	c.Limit = c.Base + uint64(len(mustBuild(t, c).Data))
	follow(t, c, mustBuild(t, c))
	c.Limit--
	if _, err := Build(c); err == nil {
		t.Error("no error when the tables lack one byte")
	}

	c = testConfig(2, 4)
	c.Base, c.Limit = 1<<32-64<<10, 1<<32
	follow(t, c, mustBuild(t, c))

	c = testConfig(maxProcessors, maxVirtio)
	c.Base, c.Limit = 1<<20, 2<<20
	for i := range c.VirtioMMIO {
		c.VirtioMMIO[i].Base = 0xc0000000 + uint64(i)*0x1000
	}
	follow(t, c, mustBuild(t, c))
}

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		field string
		spoil func(c *Config)
	}{
		{"Base", func(c *Config) { c.Base++ }},
		{"Limit", func(c *Config) { c.Limit = c.Base }},
		{"Limit", func(c *Config) { c.Limit = 1<<32 + 1 }},
		{"Base", func(c *Config) { c.Base = 1<<64 - 64 }},
		{"APICIDs", func(c *Config) { c.APICIDs = nil }},
		{"APICIDs", func(c *Config) { c.APICIDs = make([]uint32, maxProcessors+1) }},
		{"APICIDs[1]", func(c *Config) { c.APICIDs = []uint32{3, 3} }},
		{"APICIDs[0]", func(c *Config) { c.APICIDs = []uint32{0xffffffff} }},
		{"Overrides[0].ISA", func(c *Config) { c.Overrides[0].ISA = 16 }},
		{"Overrides[1]", func(c *Config) { c.Overrides[1].ISA = 0 }},
		{"Overrides[0].Flags", func(c *Config) { c.Overrides[0].Flags = 0b01_10 }}, // 0b10 is reserved
		{"Overrides[0].Flags", func(c *Config) { c.Overrides[0].Flags = 0b10_01 }},
		{"Overrides[0].Flags", func(c *Config) { c.Overrides[0].Flags = 1 << 4 }},
		{"SCI", func(c *Config) { c.SCI = 16 }},
		{"PM1Event", func(c *Config) { c.PM1Event = 0 }},
		{"PM1Event", func(c *Config) { c.PM1Event = 0xfffd }},
		{"PM1Control", func(c *Config) { c.PM1Control = 0xffff }},
		{"ResetPort", func(c *Config) { c.ResetPort = 0 }},
		{"S5SleepType", func(c *Config) { c.S5SleepType = 8 }},
		{"Serial has", func(c *Config) { c.Serial = make([]Serial, 10) }},
		{"Serial[0]", func(c *Config) { c.Serial[0].Port = 0xfff9 }},
		{"Serial[0]", func(c *Config) { c.Serial[0].Size = 0 }},
		{"Serial[0].IRQ", func(c *Config) { c.Serial[0].IRQ = 16 }},
		{"RTCPort", func(c *Config) { c.RTCPort = 0xffff }},
		{"PCI.ECAM", func(c *Config) { c.PCI.ECAM = 0xe0080000 }},
		{"PCI.ECAM", func(c *Config) { c.PCI.ECAM = 1 << 32 }},
		{"PCI.Memory", func(c *Config) { c.PCI.Memory.Size = 0 }},
		{"PCI.Memory", func(c *Config) { c.PCI.Memory.Base = 1<<64 - 1 }},
		{"PCI.Ports", func(c *Config) { c.PCI.Ports.Size++ }},
		{"PCI.Ports", func(c *Config) { c.PCI.Ports.Size = 0x10000 }},
		{"VirtioMMIO has", func(c *Config) { c.VirtioMMIO = make([]MMIO, maxVirtio+1) }},
		{"VirtioMMIO[0]", func(c *Config) { c.VirtioMMIO[0].Size = 0 }},
		{"VirtioMMIO[0]", func(c *Config) { c.VirtioMMIO[0].Base = 1<<32 - 0xfff }},
		{"VirtioMMIO[0]", func(c *Config) { c.VirtioMMIO[0].Base = 1<<64 - 0x1000 }},
		{"VirtioMMIO[0]", func(c *Config) { c.VirtioMMIO[0].Size = 1<<64 - 1 }},
	}
	for _, tt := range tests {
		c := testConfig(1, 1)
		c.PCI = pciConfig(1).PCI
		tt.spoil(&c)
		tables, err := Build(c)
		if err == nil || !strings.Contains(err.Error(), tt.field) || tables != nil {
			t.Errorf("want an error about %s, got %v", tt.field, err)
		}
	}

	// All faults are reported, not only the first.
	_, err := Build(Config{})
	for _, field := range []string{"Base", "APICIDs", "PM1Event", "PM1Control", "ResetPort"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("the error for an empty Config leaves out %s: %v", field, err)
		}
	}

	// The borders are in.
	c := testConfig(1, 1)
	c.PM1Event, c.PM1Control, c.ResetPort = 0xfffc, 1, 0xffff
	c.VirtioMMIO[0] = MMIO{Base: 1<<32 - 1, Size: 1, GSI: 0xffffffff}
	follow(t, c, mustBuild(t, c))
}
