//go:build linuxtest

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"govmm/machine/guesttest"
	tracereport "govmm/trace/report"
)

// TestTinyTrace boots a guest that works on its disk and its network, in the strictest sandbox, and looks for all of it in the trace.
func TestTinyTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "boot.json")
	image := ext4Image(t)
	s := startSession(t, "-a", "quiet", "--sandbox=strict", "--trace", file, "-c", "2", "-d", image, "-n", "user", guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t))
	s.run("mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && dd if=/dev/zero of=/mnt/x bs=1M count=4 && sync && umount /mnt")
	s.run("dd if=/dev/vda of=/dev/null bs=1M skip=32 count=4")
	s.run("dhclient -ipv6=false eth0")
	s.powerOff()

	found, err := summarize(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.CPUs) != 2 || found.LostExits+found.LostEvents != 0 {
		t.Errorf("%d vCPUs, %d and %d lost", len(found.CPUs), found.LostExits, found.LostEvents)
	}
	for _, want := range []struct {
		what  string
		rows  []tracereport.Row
		name  string
		count uint64
		bytes uint64
	}{
		{"exits by reason", found.Reasons, "KVM_EXIT_IO", 100, 0},
		{"exits by reason", found.Reasons, "KVM_EXIT_MMIO", 10, 0},
		{"exits by device", found.Devices, "serial", 100, 0},
		{"exits by device", found.Devices, "PCI configuration", 100, 0},
		{"exits by device", found.Devices, "virtio0 block", 10, 0},
		{"requests", found.Requests, "virtio0 block: read", 1, 4 << 20},
		{"requests", found.Requests, "virtio0 block: write", 1, 4 << 20},
		{"requests", found.Requests, "virtio0 block: flush", 1, 0},
		{"requests", found.Requests, "virtio1 network: send", 1, 300},
		{"requests", found.Requests, "virtio1 network: receive", 1, 300},
		{"doorbells", found.Doorbells, "virtio0 block", 1, 0},
		{"doorbells", found.Doorbells, "virtio1 network", 1, 0},
		{"interrupts", found.Interrupts, "virtio0 block", 1, 0},
		{"interrupts", found.Interrupts, "virtio1 network", 1, 0},
		{"interrupts", found.Interrupts, "serial", 1, 0},
	} {
		if r := rowOf(want.rows, want.name); r.Count < want.count || r.Bytes < want.bytes {
			t.Errorf("%s: %s: %d of %d bytes, want at least %d of %d", want.what, want.name, r.Count, r.Bytes, want.count, want.bytes)
		}
	}
	if !reachedInit(found.Phases) {
		t.Errorf("phases %+v", found.Phases)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var page bytes.Buffer
	if err := tracereport.WriteHTML(&page, f); err != nil || page.Len() < 10_000 {
		t.Errorf("a page of %d bytes, %v", page.Len(), err)
	}
}

func rowOf(rows []tracereport.Row, name string) tracereport.Row {
	for _, r := range rows {
		if r.Name == name {
			return r
		}
	}
	return tracereport.Row{}
}

func reachedInit(phases []tracereport.Phase) bool {
	for _, p := range phases {
		if p.Stage == "init" && p.Took > 0 {
			return true
		}
	}
	return false
}
