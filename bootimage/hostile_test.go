package bootimage

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// loadHostile loads a file that may be anything. Whatever is in it, the outcome is a
// plan that holds up or an error of one line.
func loadHostile(t testing.TB, file []byte, mem uint64) {
	t.Helper()
	p := Params{Cmdline: "quiet", Initrd: []byte("initrd"), Memory: guestMemory(mem)}
	plan, err := Load(file, p)
	if err != nil {
		if msg := err.Error(); msg == "" || strings.ContainsAny(msg, "\n\r\x1b") || len(msg) > 200 {
			t.Errorf("error message %q", msg)
		}
		return
	}
	checkPlan(t, plan, p)
	for _, c := range plan.Version {
		if c < ' ' || c > '~' {
			t.Errorf("version %q", plan.Version)
		}
	}
}

func TestHostileHeaders(t *testing.T) {
	bz, elf := fakeKernel().build(), fakeVmlinux().build()
	for name, file := range map[string][]byte{"bzImage": bz, "vmlinux": elf} {
		t.Run(name, func(t *testing.T) {
			for n := range len(file) {
				loadHostile(t, file[:n:n], 64*mib)
			}
			b := bytes.Clone(file)
			for i := range min(len(b), 0x400) {
				for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff, b[i] ^ 0xff, b[i] + 1} {
					old := b[i]
					b[i] = v
					loadHostile(t, b, 64*mib)
					b[i] = old
				}
				// Each field at its greatest, too.
				if i+8 <= len(b) {
					old := [8]byte(b[i:])
					copy(b[i:], "\xff\xff\xff\xff\xff\xff\xff\xff")
					loadHostile(t, b, 8*gib)
					copy(b[i:], old[:])
				}
			}
		})
	}
}

// TestBoundedMemory holds that what Load allocates does not follow from the size of
// the file or from what its header claims.
func TestBoundedMemory(t *testing.T) {
	const most = 64 << 10
	initrd := untouched(t, gib)
	big := fakeKernel()
	big.code, big.initSize = make([]byte, 4*mib), 32*mib
	notes := fakeVmlinux()
	notes.notes = make([]byte, 4*mib) // empty notes without end
	for name, file := range map[string][]byte{"bzImage": big.build(), "vmlinux": notes.build()} {
		const runs = 4
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			Load(file, Params{Initrd: initrd, Memory: guestMemory(4 * gib)}) // the outcome does not matter
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > most {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, got, most)
		}
	}
}

func FuzzBzImage(f *testing.F) {
	f.Add(fakeKernel().build(), uint16(64))
	f.Fuzz(func(t *testing.T, file []byte, mem uint16) {
		loadHostile(t, file, fuzzMemory(mem))
	})
}

func FuzzELF(f *testing.F) {
	f.Add(fakeVmlinux().build(), uint16(64))
	f.Fuzz(func(t *testing.T, file []byte, mem uint16) {
		loadHostile(t, file, fuzzMemory(mem))
	})
}

func FuzzIdentify(f *testing.F) {
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, head []byte) {
		kind, err := Identify(head)
		if (err == nil) != (kind == BzImage || kind == Vmlinux) {
			t.Errorf("%v, %v", kind, err)
		}
	})
}

// fuzzMemory makes a RAM size of 2 MiB or more out of n MiB.
func fuzzMemory(n uint16) uint64 { return max(uint64(n), 2) * mib }

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compares the structures that the kernel reads with dumps, which were
// checked by hand against zero-page.rst and start_info.h.
func TestGolden(t *testing.T) {
	p := Params{Cmdline: "console=ttyS0", Initrd: make([]byte, 0x1234), Memory: guestMemory(4 * gib), RSDP: 0xe0000}
	bz := mustLoad(t, fakeKernel().build(), p)
	elf := mustLoad(t, fakeVmlinux().build(), p)
	p.Initrd = nil
	bare := mustLoad(t, fakeVmlinux().build(), p)
	golden(t, "boot_params", segment(t, bz, "boot_params").Data)
	golden(t, "start_info", segment(t, elf, "start_info").Data)
	golden(t, "start_info_without_initrd", segment(t, bare, "start_info").Data)
}

func golden(t *testing.T, name string, data []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	got := dump(data)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		var gl, wl string
		if i < len(g) {
			gl = g[i]
		}
		if i < len(w) {
			wl = w[i]
		}
		if gl != wl {
			t.Errorf("%s:\ngot  %s\nwant %s", file, gl, wl)
		}
	}
}

// dump is hex.Dump without lines that are all zeroes.
func dump(b []byte) string {
	var out strings.Builder
	for line := range strings.Lines(hex.Dump(b)) {
		if !strings.Contains(line, "|................|") || strings.Trim(line[8:58], " 0") != "" {
			out.WriteString(line)
		}
	}
	return out.String()
}
