//go:build linuxtest

package payload

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var stockKernels = []struct {
	name   string
	format Format
	tool   string
}{
	{"6.1-cloud", LZ4, "lz4"},
	{"6.12-cloud", Zstd, "zstd"},
	{"6.1-full", XZ, "xz"},
}

// stockKernel reads the kernel that "nested kernel NAME" fetches.
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
	image, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestStockKernels(t *testing.T) {
	for _, k := range stockKernels {
		t.Run(k.name, func(t *testing.T) {
			p, err := Find(stockKernel(t, k.name))
			if err != nil {
				t.Fatal(err)
			}
			if p.Format() != k.format {
				t.Errorf("format %v, want %v", p.Format(), k.format)
			}
			got, err := p.Unpack()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(k.tool, "-dc")
			cmd.Stdin = bytes.NewReader(p.stream)
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", k.tool, err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes that differ from the %d of %s", len(got), len(want), k.tool)
			}
			t.Logf("%v: %d bytes from %d", p.Format(), len(got), p.Packed())
		})
	}
}

func BenchmarkUnpack(b *testing.B) {
	for _, k := range stockKernels {
		p, err := Find(stockKernel(b, k.name))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(k.name+"/"+k.format.String(), func(b *testing.B) {
			b.SetBytes(int64(p.Size()))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Unpack(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
