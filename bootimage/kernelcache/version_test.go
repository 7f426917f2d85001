package kernelcache

import (
	"bytes"
	"testing"
)

func TestVersion(t *testing.T) {
	for text, want := range map[string]string{
		"xxLinux version 6.12.1-amd64 (builder)":                   "6.12.1-amd64",
		"Linux version %s (%s)\x00\x00Linux version 6.1.0 (gcc)":   "6.1.0",
		"Linux version 6.1\x1b[2J (gcc)":                           "",
		"Linux version ":                                           "",
		"no kernel at all":                                         "",
		"Linux version " + string(bytes.Repeat([]byte{'6'}, 1000)): "",
	} {
		if got := versionIn([]byte(text)); got != want {
			t.Errorf("%.40q: version %q, want %q", text, got, want)
		}
	}
	d, k := newDir(t), newKernel(t, "Linux version 6.9 ", 100_000)
	k.expect(t, d, true)
	list, err := d.List()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if v, err := list[0].Version(); v != "6.9" || err != nil {
		t.Errorf("version %q, %v", v, err)
	}
}
