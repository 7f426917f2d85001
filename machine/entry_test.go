package machine

import (
	"encoding/binary"
	"testing"

	"govmm/bootimage"
	"govmm/kvm"
)

// TestIdentityPageTables walks the tables as a processor does.
func TestIdentityPageTables(t *testing.T) {
	tables := identityPageTables()
	entry := func(table uint64, i uint64) uint64 {
		t.Helper()
		off := table - pageTablesAddr + i*8
		e := binary.LittleEndian.Uint64(tables[off:])
		if e&(ptePresent|pteWritable) != ptePresent|pteWritable {
			t.Fatalf("entry %d of table %#x is %#x", i, table, e)
		}
		return e
	}
	for _, addr := range []uint64{0, 0x1000, 0x10_0000, 0x1f_ffff, 0x20_0000, 0x4000_0000, 0xbfff_ffff, 0xfee0_0000, 0xffff_ffff} {
		pdpt := entry(pageTablesAddr, addr>>39&511) &^ 0xfff
		pd := entry(pdpt, addr>>30&511) &^ 0xfff
		page := entry(pd, addr>>21&511)
		if page&pteLarge == 0 {
			t.Fatalf("%#x: not a 2 MiB page", addr)
		}
		if got := page&^0x1f_ffff | addr&0x1f_ffff; got != addr {
			t.Errorf("%#x maps to %#x", addr, got)
		}
	}
}

func TestDescriptors(t *testing.T) {
	for _, tt := range []struct {
		kind segmentKind
		want uint64 // as boot.rst and every flat GDT have it
	}{
		{code64, 0x00af9b000000ffff},
		{code32, 0x00cf9b000000ffff},
		{data32, 0x00cf93000000ffff},
		{tss, 0x00008b0000000067},
	} {
		if got := tt.kind.descriptor(); got != tt.want {
			t.Errorf("selector %#x: %#016x, want %#016x", tt.kind.selector, got, tt.want)
		}
	}
}

func TestEnter(t *testing.T) {
	regs, sregs, err := enter(bootimage.Entry{Mode: bootimage.Linux64, PC: 0x100_0200, Arg: 0x7000}, kvm.Sregs{})
	if err != nil {
		t.Fatal(err)
	}
	if regs.RIP != 0x100_0200 || regs.RSI != 0x7000 || regs.RFLAGS != 2 {
		t.Errorf("registers %+v", regs)
	}
	if sregs.EFER != eferLME|eferLMA || sregs.CR0&cr0PG == 0 || sregs.CS.L != 1 || sregs.CS.Selector != 0x10 || sregs.DS.Selector != 0x18 {
		t.Errorf("not the 64-bit entry: %+v", sregs)
	}
	regs, sregs, err = enter(bootimage.Entry{Mode: bootimage.PVH, PC: 0x100_0000, Arg: 0x6000}, kvm.Sregs{})
	if err != nil {
		t.Fatal(err)
	}
	if regs.RBX != 0x6000 || sregs.CR0&cr0PG != 0 || sregs.EFER != 0 || sregs.CS.DB != 1 || sregs.CS.L != 0 {
		t.Errorf("not the PVH entry: %+v %+v", regs, sregs)
	}
	if _, _, err := enter(bootimage.Entry{}, kvm.Sregs{}); err == nil {
		t.Error("an entry of no mode was taken")
	}
}
