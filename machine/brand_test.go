package machine

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"govmm/kvm"
)

// brandOf is what a guest with this list shows as its model name.
func brandOf(list []kvm.CPUIDEntry) string {
	var b []byte
	for f := uint32(leafBrandFirst); f <= leafBrandLast; f++ {
		for _, e := range list {
			if e.Function == f {
				for _, r := range []uint32{e.EAX, e.EBX, e.ECX, e.EDX} {
					b = binary.LittleEndian.AppendUint32(b, r)
				}
			}
		}
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimSpace(string(b))
}

// TestBrandIsTheHosts compares with what this host's kernel shows.
func TestBrandIsTheHosts(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	_, name, ok := strings.Cut(string(info), "\nmodel name\t: ")
	name, _, _ = strings.Cut(name, "\n")
	if !ok || name == "unknown" {
		name = ""
	}
	got := brandOf(addBrand([]kvm.CPUIDEntry{{Function: leafBrandFirst}, {Function: leafBrandFirst + 1}}))
	if got != strings.TrimSpace(name) {
		t.Errorf("brand %q, /proc/cpuinfo has %q", got, name)
	}
}

func TestBrand(t *testing.T) {
	const text = "a processor with a name of 47 letters, and a NUL"
	host := func(f uint32) (eax, ebx, ecx, edx uint32) {
		if f == leafExtendedMax {
			return leafBrandLast, 0, 0, 0
		}
		b := []byte(text)[(f-leafBrandFirst)*16:]
		w := binary.LittleEndian.Uint32
		return w(b), w(b[4:]), w(b[8:]), w(b[12:])
	}
	if got := brandOf(addBrandFrom(nil, host)); got != text {
		t.Errorf("brand %q", got)
	}
	// KVM's own stays.
	own := []kvm.CPUIDEntry{{Function: leafBrandFirst, EAX: 0x204d564b}, {Function: leafBrandFirst + 1}, {Function: leafBrandLast}}
	if got := brandOf(addBrandFrom(own, host)); got != "KVM" {
		t.Errorf("brand %q", got)
	}
	none := func(uint32) (eax, ebx, ecx, edx uint32) { return 0x8000_0001, 1, 1, 1 }
	if got := addBrandFrom(nil, none); len(got) != 0 {
		t.Errorf("%v of a processor without a brand", got)
	}
}
