package debug

import (
	"encoding/binary"
	"io"
	"testing"

	"govmm/kvm"
)

// fakeRAM is RAM from address 0 on.
type fakeRAM []byte

func (r fakeRAM) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(r))-int64(len(p)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, r[off:]), nil
}

func (r fakeRAM) put64(at int, v uint64) { binary.LittleEndian.PutUint64(r[at:], v) }
func (r fakeRAM) put32(at int, v uint32) { binary.LittleEndian.PutUint32(r[at:], v) }

func long(more uint64) kvm.Sregs {
	return kvm.Sregs{CR0: cr0PG | 1, CR3: 0x1000, CR4: cr4PAE | more, EFER: eferLMA | eferNXE}
}

// longTables map, with four levels from 0x1000 on: 0xffffffff81000000 with 2 MiB to 0x40000000, the 4 KiB behind that to 0x5000,
// not executable, and 0x40000000 with 1 GiB to 0.
func longTables() fakeRAM {
	r := make(fakeRAM, 0x8000)
	r.put64(0x1000+511*8, 0x2000|ptePresent)
	r.put64(0x2000+510*8, 0x3000|ptePresent)
	r.put64(0x3000+8*8, 0x4000_0000|ptePresent|pteLarge)
	r.put64(0x3000+9*8, 0x4000|ptePresent)
	r.put64(0x4000, 0x5000|ptePresent|pteNoExecute)
	r.put64(0x1000, 0x6000|ptePresent)
	r.put64(0x6000+8, ptePresent|pteLarge)
	return r
}

func TestWalkLong(t *testing.T) {
	for addr, want := range map[uint64]page{
		0xffff_ffff_8100_0000: {phys: 0x4000_0000},
		0xffff_ffff_811f_ffff: {phys: 0x401f_ffff},
		0xffff_ffff_8120_0123: {phys: 0x5123, noExecute: true},
		0x4000_0000:           {},
		0x7fff_ffff:           {phys: 0x3fff_ffff},
	} {
		s := long(0)
		if got, err := walk(longTables(), &s, addr); err != nil || got != want {
			t.Errorf("%#x: %+v, %v; want %+v", addr, got, err, want)
		}
	}
	for _, addr := range []uint64{0, 0x8000_0000, 0xffff_ffff_8120_1000, 0x7fff_ffff_8100_0000, 0xffff_ff7f_8100_0000, ^uint64(0)} {
		s := long(0)
		if got, err := walk(longTables(), &s, addr); err == nil {
			t.Errorf("%#x is mapped to %+v", addr, got)
		}
	}
}

func TestWalkFiveLevels(t *testing.T) {
	r := longTables()
	r.put64(0x7000+511*8, 0x1000|ptePresent)
	s := long(cr4LA57)
	s.CR3 = 0x7000 | 0xfff // PCID and flags
	if got, err := walk(r, &s, 0xffff_ffff_8100_0007); err != nil || got.phys != 0x4000_0007 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := walk(r, &s, 0xfeff_ffff_8100_0000); err == nil {
		t.Errorf("an address that is not canonical is mapped to %+v", got)
	}
}

// TestWalkLargeOnly holds that a table of the highest level has no large pages.
func TestWalkLargeOnly(t *testing.T) {
	r := make(fakeRAM, 0x3000)
	r.put64(0x1000, 0x2000|ptePresent|pteLarge)
	s := long(0)
	if got, err := walk(r, &s, 0); err == nil {
		t.Errorf("%+v", got)
	}
}

func TestWalkWithoutPaging(t *testing.T) {
	if got, err := walk(nil, &kvm.Sregs{}, 0x1234_5678); err != nil || got.phys != 0x1234_5678 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWalkPAE(t *testing.T) {
	r := make(fakeRAM, 0x4000)
	s := kvm.Sregs{CR0: cr0PG, CR3: 0x1020, CR4: cr4PAE}
	r.put64(0x1020+3*8, 0x2000|ptePresent)
	r.put64(0x2000+8, 0x20_0000|ptePresent|pteLarge)
	r.put64(0x2000+16, 0x3000|ptePresent)
	r.put64(0x3000+8, 0x1_2345_6000|ptePresent)
	for addr, want := range map[uint64]uint64{0xc020_0005: 0x20_0005, 0xc040_1006: 0x1_2345_6006} {
		if got, err := walk(r, &s, addr); err != nil || got.phys != want {
			t.Errorf("%#x: %+v, %v; want %#x", addr, got, err, want)
		}
	}
	for _, addr := range []uint64{0, 0xc000_0000, 0x1_c020_0000} {
		if got, err := walk(r, &s, addr); err == nil {
			t.Errorf("%#x is mapped to %+v", addr, got)
		}
	}
}

func TestWalk32(t *testing.T) {
	r := make(fakeRAM, 0x3000)
	s := kvm.Sregs{CR0: cr0PG, CR3: 0x1000, CR4: cr4PSE}
	r.put32(0x1000+768*4, 0x40_0000|2<<13|ptePresent|pteLarge)
	r.put32(0x1000+4, 0x2000|ptePresent)
	r.put32(0x2000+8, 0x5000|ptePresent)
	for addr, want := range map[uint64]uint64{0xc000_0005: 0x2_0040_0005, 0x40_2006: 0x5006} {
		if got, err := walk(r, &s, addr); err != nil || got.phys != want {
			t.Errorf("%#x: %+v, %v; want %#x", addr, got, err, want)
		}
	}
	if got, err := walk(r, &s, 0); err == nil {
		t.Errorf("0 is mapped to %+v", got)
	}
}

// FuzzWalk has tables and registers say anything.
func FuzzWalk(f *testing.F) {
	f.Add([]byte(longTables()), uint64(cr0PG), uint64(0x1000), uint64(cr4PAE), uint64(eferLMA|eferNXE), uint64(0xffff_ffff_8120_0123))
	f.Add(make([]byte, 0x2000), uint64(cr0PG), uint64(0x1020), uint64(cr4PAE), uint64(0), uint64(0xc020_0005))
	f.Add(make([]byte, 0x2000), uint64(cr0PG), uint64(0x1000), uint64(cr4PSE), uint64(0), uint64(0xc020_0005))
	f.Fuzz(func(t *testing.T, ram []byte, cr0, cr3, cr4, efer, addr uint64) {
		p, err := walk(fakeRAM(ram), &kvm.Sregs{CR0: cr0, CR3: cr3, CR4: cr4, EFER: efer}, addr)
		if err == nil && p.phys&0xfff != addr&0xfff {
			t.Errorf("%#x is at %#x of its page", addr, p.phys&0xfff)
		}
		if p.phys > pteAddr|0xfff {
			t.Errorf("%#x is more than a physical address", p.phys)
		}
	})
}
