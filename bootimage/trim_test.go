package bootimage

import (
	"bytes"
	"testing"

	"govmm/bootimage/kaslr"
)

// trimmable is fakeUnpacked with zeroes at the segments' ends.
func trimmable(t *testing.T, sections bool) []byte {
	t.Helper()
	e := fakeVmlinux()
	e.loads[0].data = append(bytes.Repeat([]byte{0x90}, 5000), make([]byte, 3*pageSize)...)
	e.loads[0].memSize = 0x10_0000
	e.loads[1].data = append([]byte("data"), make([]byte, 10*pageSize)...)
	if !sections {
		e.notes = nil // the last segment ends the file
	}
	b := e.build()
	if sections {
		// A section that ends where the file does, as .shstrtab.
		headers := len(b)
		b = append(b, make([]byte, 64)...)
		putLE32(b[headers+4:], 3)
		putLE32(b[headers+24:], uint32(headers))
		b[headers+32] = 64
		putLE32(b[40:], uint32(headers)) // e_shoff
		b[58], b[60] = 64, 1             // e_shentsize, e_shnum
	}
	return append(b, 0, 0, 0, 0, 0x10, 0, 0, 0x81, 0, 0, 0, 0) // tables
}

func TestTrim(t *testing.T) {
	b := trimmable(t, true)
	before, err := parseELF(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	Trim(b)
	after, err := parseELF(b)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{8192, 4096} {
		s, old := after.segments[i], before.segments[i]
		if len(s.data) != want || s.memSize != old.memSize {
			t.Errorf("segment %d has %d bytes in the file, %d in memory", i, len(s.data), s.memSize)
		}
		if !bytes.Equal(old.data[:want], s.data) || bytes.ContainsFunc(old.data[want:], func(r rune) bool { return r != 0 }) {
			t.Errorf("segment %d lost something", i)
		}
	}
	if r, err := kaslr.Tables(b); err != nil || r.Len() != 1 {
		t.Errorf("relocations: %v, %v", r.Len(), err)
	}
}

// TestTrimKeeps holds that what cannot be trimmed is not changed.
func TestTrimKeeps(t *testing.T) {
	for name, b := range map[string][]byte{
		"no section headers": trimmable(t, false),
		"no zeroes":          fakeUnpacked(),
		"no kernel":          []byte("text"),
		"nothing":            nil,
	} {
		before := bytes.Clone(b)
		if Trim(b); !bytes.Equal(b, before) {
			t.Errorf("%s: changed", name)
		}
	}
}
