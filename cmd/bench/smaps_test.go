package main

import (
	"os"
	"strings"
	"testing"
)

func readSmaps(t *testing.T) []vma {
	t.Helper()
	f, err := os.Open("testdata/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := parseSmaps(f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestParseSmaps(t *testing.T) {
	list := readSmaps(t)
	if len(list) != 11 {
		t.Fatalf("%d mappings, want 11", len(list))
	}
	if v := list[0]; v.start != 0x400000 || v.end != 0x600000 || v.perms != "r-xp" || v.path != "/x/govmm" || v.private != 1940<<10 {
		t.Errorf("the first is %+v", v)
	}
	// Clean and dirty pages are added.
	if v := list[2]; v.private != (100+52)<<10 {
		t.Errorf("the third is %+v", v)
	}
	if v := list[5]; v.path != "/x/a file (deleted)" {
		t.Errorf("the sixth is %+v", v)
	}
}

func TestParseSmapsErrors(t *testing.T) {
	for _, text := range []string{
		"Rss: 4 kB\n",
		"400000-600000 r-xp\n",
		"4-x r-xp 0 0:0 0\n",
		"400000-600000 r-xp 0 0:0 0\nPrivate_Clean: many kB\n",
	} {
		if _, err := parseSmaps(strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
