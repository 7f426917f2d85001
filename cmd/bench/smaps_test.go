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

// TestSplitRAM takes out a guest of 128 MiB, a part of which is a file, with a neighbour
// that is not reserved alike.
func TestSplitRAM(t *testing.T) {
	monitor, err := splitRAM(readSmaps(t), 128<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(monitor) != 8 {
		t.Fatalf("%d mappings are the monitor's, want 8: %+v", len(monitor), monitor)
	}
	for _, v := range monitor {
		if strings.Contains(v.path, "a file") {
			t.Errorf("%+v is the guest's", v)
		}
	}
	sum, mappings, total := holders(monitor, "/x/govmm")
	want := []holder{
		{"Go heap and goroutines' stacks", 2048 << 10},
		{"code", 1940 << 10},
		{"constants and tables of the program", 1000 << 10},
		{"initialized variables", 152 << 10},
		{"zeroed variables (bss)", 88 << 10},
		{"other anonymous memory: the language's runtime", 64 << 10},
		{"stack", 12 << 10},
		{"what is shared with KVM", 8 << 10},
	}
	if len(sum) != len(want) {
		t.Fatalf("%+v", sum)
	}
	var all float64
	for i := range want {
		all += want[i].Private
		if sum[i] != want[i] {
			t.Errorf("holder %d is %+v, want %+v", i, sum[i], want[i])
		}
	}
	if float64(total) != all {
		t.Errorf("all together hold %d, want %v", total, all)
	}
	if m := mappings[0]; m.Range != "3930d800000-3930dc00000" || m.Private != 2<<20 {
		t.Errorf("the largest mapping is %+v", m)
	}
}

// TestSplitRAMBesideOthers has a neighbour that cannot be told from a part of the RAM but by its size.
func TestSplitRAMBesideOthers(t *testing.T) {
	ram := vma{start: 0x7fd000000000, end: 0x7fd008000000, perms: "rw-p"}
	other := vma{start: ram.end, end: ram.end + 8<<20, perms: "rw-p", private: 4096}
	monitor, err := splitRAM([]vma{ram, other}, 128<<20)
	if err != nil || len(monitor) != 1 || monitor[0].start != other.start {
		t.Errorf("%+v, %v", monitor, err)
	}
}

func TestSplitRAMFindsNone(t *testing.T) {
	for _, ram := range []uint64{64 << 20, 256 << 20} {
		if _, err := splitRAM(readSmaps(t), ram); err == nil {
			t.Errorf("RAM of %d MiB is found", ram>>20)
		}
	}
}
