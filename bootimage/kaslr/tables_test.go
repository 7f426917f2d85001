package kaslr

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestTables(t *testing.T) {
	abs64, inverse, abs32 := table(testVirt+8, testVirt+16), table(testVirt+1), table(testVirt+32, testVirt+36, testVirt+40)
	for name, c := range map[string]struct {
		tail []byte
		want Relocs
	}{
		"three":       {join(abs64, inverse, abs32), Relocs{abs32[4:], inverse[4:], abs64[4:]}},
		"two":         {join(abs64, abs32), Relocs{abs32[4:], nil, abs64[4:]}},
		"no inverse":  {join(abs64, table(), abs32), Relocs{abs32[4:], nil, abs64[4:]}},
		"no 32-bit":   {join(abs64, inverse, table()), Relocs{nil, inverse[4:], abs64[4:]}},
		"all empty":   {join(table(), table(), table()), Relocs{}},
		"top of 1 GB": {join(table(0xffff_ffff_bfff_ffff), table()), Relocs{abs64: []byte{0xff, 0xff, 0xff, 0xbf}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustTables(t, join(fakeELF(), c.tail))
			if !bytes.Equal(r.abs32, c.want.abs32) || !bytes.Equal(r.inverse, c.want.inverse) || !bytes.Equal(r.abs64, c.want.abs64) {
				t.Errorf("got %x, want %x", r, c.want)
			}
			if r.Len() != c.want.Len() {
				t.Errorf("Len %d, want %d", r.Len(), c.want.Len())
			}
		})
	}
}

func TestNoTables(t *testing.T) {
	if _, err := Tables(fakeELF()); !errors.Is(err, ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
}

func TestTablesRefused(t *testing.T) {
	elf, good := fakeELF(), table(testVirt)
	for name, c := range map[string]struct {
		image []byte
		want  string
	}{
		"empty":           {nil, "no ELF file"},
		"only the ident":  {elf[:16], "no ELF file"},
		"32-bit":          {join([]byte("\x7fELF\x01\x01"), elf[6:]), "no ELF file"},
		"other machine":   {join(elf[:offMachine], []byte{183}, elf[offMachine+1:]), "no ELF file"},
		"truncated":       {elf[:len(elf)-1], "truncated"},
		"odd tail":        {join(elf, good, good, []byte{0}), "that are no relocation tables"},
		"no zero first":   {join(elf, good[4:], good), "that are no relocation tables"},
		"one table":       {join(elf, good), "1 relocation tables"},
		"four tables":     {join(elf, good, good, good, good), "more than 3"},
		"below the map":   {join(elf, table(0x7fff_ffff), good), "where no kernel lies"},
		"above the map":   {join(elf, table(0xc000_0000), good), "where no kernel lies"},
		"padding":         {join(elf, make([]byte, 1<<20)), "more than 3"},
		"wrong header":    {join(elf[:offSectEntry], []byte{63}, elf[offSectEntry+1:]), "63 bytes"},
		"headers beyond":  {join(elf[:offSectOffset], bytes.Repeat([]byte{0xff}, 8), elf[offSectOffset+8:]), "truncated"},
		"segment too big": {join(elf[:elfHeaderSize+progSize], bytes.Repeat([]byte{0xff}, 8), elf[elfHeaderSize+progSize+8:]), "truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Tables(c.image)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func FuzzTables(f *testing.F) {
	f.Add(fakeELF())
	f.Add(join(fakeELF(), table(testVirt), table(), table(testVirt+8)))
	f.Add(join(fakeELF(), table(), table()))
	f.Fuzz(func(t *testing.T, image []byte) {
		r, err := Tables(image)
		if err != nil {
			if msg := err.Error(); msg == "" || strings.ContainsAny(msg, "\n\r\x1b") {
				t.Errorf("error message %q", msg)
			}
			return
		}
		if r.Len()*entrySize > len(image) {
			t.Errorf("%d places in %d bytes", r.Len(), len(image))
		}
		// Whatever is in the tables, it stays inside memory.
		_ = r.Apply(make([]byte, testSize), testVirt, minAlign)
	})
}
