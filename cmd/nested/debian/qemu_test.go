package debian

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestMajor(t *testing.T) {
	for output, want := range map[string]int{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n":      7,
		"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\n": 10,
		"": 0,
	} {
		if got := major(output); got != want {
			t.Errorf("%q: %d, want %d", output, got, want)
		}
	}
}

func TestQEMUIsTheSystemsUnlessFetched(t *testing.T) {
	c := newTestCache(t, &fakeApt{})
	if q := c.QEMU(); q.Program != systemQEMU.Program || q.Data != nil {
		t.Errorf("%+v", q)
	}
	dir := filepath.Join(c.dir, "qemu-10-x")
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755),
		os.MkdirAll(filepath.Join(dir, "usr/share/qemu"), 0o755),
		os.WriteFile(filepath.Join(dir, "usr/bin/qemu-system-x86_64"), nil, 0o755),
		c.choose(qemuName, dir),
	)
	if err != nil {
		t.Fatal(err)
	}
	if q := c.QEMU(); q.Program != systemQEMU.Program {
		t.Errorf("%+v, and it has no BIOS", q)
	}
	if err := os.Mkdir(filepath.Join(dir, "usr/share/seabios"), 0o755); err != nil {
		t.Fatal(err)
	}
	if q := c.QEMU(); q.Program != filepath.Join(dir, "usr/bin/qemu-system-x86_64") || len(q.Data) != 2 {
		t.Errorf("%+v", q)
	}
}
