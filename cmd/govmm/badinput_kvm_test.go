//go:build kvmtest

package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// badKernels are files that are no kernel for this machine, by their names.
func badKernels() map[string][]byte {
	good := pvhELF(guestPowerOff)
	le := binary.LittleEndian

	elf32 := bytes.Clone(good)
	elf32[4] = 1                // ELFCLASS32
	le.PutUint16(elf32[18:], 3) // EM_386
	elfARM := bytes.Clone(good)
	le.PutUint16(elfARM[18:], 183) // EM_AARCH64
	noNote := bytes.Clone(good)
	copy(noNote[0x20c:], "None") // in place of "Xen\x00"

	imageARM := make([]byte, 4096)
	copy(imageARM[56:], "ARM\x64")

	bz := make([]byte, 8192)
	bz[0x1f1] = 4
	le.PutUint16(bz[0x1fe:], 0xaa55)
	bz[0x201] = 0x6a // where the header ends
	copy(bz[0x202:], "HdrS")
	le.PutUint16(bz[0x206:], 0x20f)
	bz[0x211] = 1                        // LOADED_HIGH
	le.PutUint16(bz[0x236:], 1)          // XLF_KERNEL_64
	le.PutUint32(bz[0x1f4:], 1<<20>>4)   // the kernel's size, in 16 bytes
	le.PutUint32(bz[0x248:], 0x100)      // payload offset
	le.PutUint32(bz[0x24c:], 1<<20-1024) // and length

	return map[string][]byte{
		"text":       []byte(strings.Repeat("# not a kernel\n", 300)),
		"elf32":      elf32,
		"elfarm":     elfARM,
		"elfcut":     good[:0x1004],
		"nonote":     noNote,
		"imagearm":   imageARM,
		"bzimagecut": bz,
		"bzimage600": bz[:600],
		"random":     []byte("\x8b\x12\xf0\x03\x77\x00\x01\x02 and so on"),
		"gz":         {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3},
		"xz":         []byte("\xfd7zXZ\x00 and so on"),
		"cpio":       []byte("070701" + strings.Repeat("0", 200)),
		"guest":      good,
	}
}

// TestBadImages needs KVM, because a machine is made before it is filled.
func TestBadImages(t *testing.T) {
	dir := inputDir(t)
	for name, content := range badKernels() {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "initrd"), 1<<30); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []string { return append([]string{"-d", "disk.img"}, args...) }
	checkBadInputs(t, dir, []badInput{
		{"text", run("text"), "text file, not a kernel", ""},
		{"32-bit", run("elf32"), "32-bit", ""},
		{"arm64 ELF", run("elfarm"), "arm64", ""},
		{"arm64 Image", run("imagearm"), "arm64", ""},
		{"cut ELF", run("elfcut"), "truncated", ""},
		{"ELF without an entry note", run("nonote"), "PVH", ""},
		{"cut bzImage", run("bzimagecut"), "truncated", ""},
		{"bzImage cut in its header", run("bzimage600"), "truncated", ""},
		{"noise", run("random"), "neither bzImage nor ELF vmlinux", ""},
		{"gzip", run("gz"), "gzip", ""},
		{"xz", run("xz"), "xz-compressed file; unpack it first", ""},
		{"initrd in place of the kernel", run("cpio"), "an initrd rather than a kernel", ""},
		{"disk in place of the kernel", run("disk.img"), "not a kernel", ""},
		{"initrd larger than memory", run("guest", "initrd"), "initrd", ""},
		{"long command line", run("-a", strings.Repeat("word ", 20_000), "guest"), "command line", ""},
	})
}

// TestHostWithoutKVM needs root, to make surroundings in which there is none.
func TestHostWithoutKVM(t *testing.T) {
	args := []string{"-d", "disk.img,ro", "kernel"}
	checkBadInputs(t, inputDir(t), []badInput{
		{"no device", args, "/dev/kvm: no such file or directory; govmm check", noKVM},
		{"another device", args, "govmm check", falseKVM},
		{"a capability less", args, "host lacks KVM_CAP_IRQFD; govmm check", oldKVM},
		{"no permission", args, "/dev/kvm: permission denied; govmm check", asNobody},
	})
}
