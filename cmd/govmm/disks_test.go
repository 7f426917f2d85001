//go:build linuxtest

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmm/machine/guesttest"
)

// TestDisks gives a guest two disks, the second read-only.
func TestDisks(t *testing.T) {
	writable := ext4Image(t)
	label := append([]byte("second"), make([]byte, 96<<20-6)...)
	readOnly := filepath.Join(t.TempDir(), "second.img")
	if err := os.WriteFile(readOnly, label, 0o644); err != nil {
		t.Fatal(err)
	}
	s := startSession(t, "-a", "quiet", "-d", writable, "-d", readOnly+",ro", guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t))

	info := guestInfo(s)
	for name, want := range map[string]string{
		"block.vda": "67108864", "block.vda.readonly": "", "block.vdb": "100663296", "block.vdb.readonly": "1",
	} {
		if info[name] != want {
			t.Errorf("the guest sees %s=%q, want %q", name, info[name], want)
		}
	}
	if got := s.run("head -c 6 /dev/vdb; echo"); got != "second" {
		t.Errorf("vdb begins with %q", got)
	}
	if out, status := s.try("dd if=/dev/zero of=/dev/vdb bs=512 count=1"); status == "0" {
		t.Errorf("the guest could write to a read-only disk: %s", out)
	}
	checkRefused(t, writable)
	checkRefused(t, writable+",ro")
	checkRefused(t, readOnly)
	sum := writeFile(s, "/dev/vda")
	s.powerOff()

	checkFile(t, writable, sum)
	if after, err := os.ReadFile(readOnly); err != nil || !bytes.Equal(after, label) {
		t.Errorf("the read-only image changed, or %v", err)
	}
}

// checkRefused holds that a second govmm does not take an image which the first one uses.
func checkRefused(t *testing.T, disk string) {
	t.Helper()
	r := finish(t, command(t, "boot", "-d", disk, guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t)))
	path, _, _ := strings.Cut(disk, ",")
	if r.status != 1 || r.stdout != "" {
		t.Errorf("a second govmm with %s: %v", disk, r)
	}
	checkOneLine(t, r.stderr, path+": image is in use")
}
