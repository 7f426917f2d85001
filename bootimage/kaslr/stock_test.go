//go:build linuxtest

package kaslr

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"testing"

	"govmm/bootimage/payload"
)

var stockKernels = []string{"6.1-cloud", "6.12-cloud", "6.1-full"}

const linkPhys = 16 * mib // LOAD_PHYSICAL_ADDR of all of them

// stockKernel unpacks the kernel that "nested kernel NAME" fetches.
func stockKernel(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("GOVMM_TEST_KERNELS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(cache, "govmm", "kernels")
	}
	found, err := filepath.Glob(filepath.Join(dir, name, "boot", "vmlinuz-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("no kernel %s below %s (%v); run: make kernels", name, dir, err)
	}
	file, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := payload.Find(file)
	if err != nil {
		t.Fatal(err)
	}
	image, err := p.Unpack()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// layOut puts the ELF segments' bytes where they lie in memory, and returns the
// virtual address of the first.
func layOut(t testing.TB, image []byte) (load []byte, virt uint64) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		at := int(p.Paddr - linkPhys)
		if at == 0 {
			virt = p.Vaddr
		}
		if more := at + int(p.Filesz) - len(load); more > 0 {
			load = append(load, make([]byte, more)...)
		}
		copy(load[at:], image[p.Off:p.Off+p.Filesz])
	}
	return load, virt
}

func TestStockKernels(t *testing.T) {
	for _, name := range stockKernels {
		t.Run(name, func(t *testing.T) {
			image := stockKernel(t, name)
			r := mustTables(t, image)
			counts := []int{len(r.abs32) / 4, len(r.inverse) / 4, len(r.abs64) / 4}
			t.Logf("%d 32-bit, %d inverse, %d 64-bit", counts[0], counts[1], counts[2])
			for _, n := range counts {
				if n < 1000 {
					t.Errorf("%d places in a table are implausible", n)
				}
			}
			load, virt := layOut(t, image)
			if virt != kernelMap+linkPhys {
				t.Errorf("linked at %#x", virt)
			}
			checkPointers(t, r, load, virt)
			before := bytes.Clone(load)
			const delta = 0x1000_0000 - 2*mib
			if err := r.Apply(load, virt, delta); err != nil {
				t.Fatal(err)
			}
			checkMoved(t, r, before, load, virt, delta)
		})
	}
}

// checkPointers holds that what is to be relocated looks like addresses in the kernel,
// of which the BSS is a part that is not in load.
func checkPointers(t *testing.T, r Relocs, load []byte, virt uint64) {
	t.Helper()
	const bss = 32 * mib
	end := virt + uint64(len(load)) + bss
	others := 0
	for e := r.abs64; len(e) > 0; e = e[4:] {
		if v := le64(load, int(address(le32(e, 0))-virt)); v < virt || v >= end {
			others++
		}
	}
	for e := r.abs32; len(e) > 0; e = e[4:] {
		if v := address(le32(load, int(address(le32(e, 0))-virt))); v < virt || v >= end {
			others++
		}
	}
	if places := r.Len() - len(r.inverse)/4; others*100 > places {
		t.Errorf("%d of %d places hold no address in the kernel", others, places)
	} else {
		t.Logf("%d of %d places hold no address in the kernel", others, places)
	}
}

// checkMoved holds that every place has changed as its table says.
func checkMoved(t *testing.T, r Relocs, before, after []byte, virt, delta uint64) {
	t.Helper()
	wrong := 0
	each := func(entries []byte, same func(at int) bool) {
		for ; len(entries) > 0; entries = entries[4:] {
			if !same(int(address(le32(entries, 0)) - virt)) {
				wrong++
			}
		}
	}
	each(r.abs32, func(at int) bool { return le32(after, at) == le32(before, at)+uint32(delta) })
	each(r.inverse, func(at int) bool { return le32(after, at) == le32(before, at)-uint32(delta) })
	each(r.abs64, func(at int) bool { return le64(after, at) == le64(before, at)+delta })
	if wrong > 0 {
		t.Errorf("%d places are wrong", wrong)
	}
}

func BenchmarkTables(b *testing.B) {
	image := stockKernel(b, "6.12-cloud")
	b.ReportAllocs()
	for b.Loop() {
		mustTables(b, image)
	}
}

func BenchmarkApply(b *testing.B) {
	for _, name := range stockKernels {
		image := stockKernel(b, name)
		load, virt := layOut(b, image)
		r := mustTables(b, image)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Apply(load, virt, 2*mib); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
