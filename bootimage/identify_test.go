package bootimage

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
)

func TestIdentify(t *testing.T) {
	at := func(size int, parts ...any) []byte {
		b := make([]byte, size)
		for i := 0; i < len(parts); i += 2 {
			copy(b[parts[i].(int):], parts[i+1].(string))
		}
		return b
	}
	arm64 := at(4096, 0, "MZ\x40\xfa", 56, "ARM\x64")
	tests := []struct {
		name string
		head []byte
		want Kind
		err  string
	}{
		{"bzImage", fakeKernel().build(), BzImage, ""},
		{"bzImage with EFI stub", append([]byte("MZ"), fakeKernel().build()[2:]...), BzImage, ""},
		{"vmlinux", fakeVmlinux().build(), Vmlinux, ""},
		{"empty", nil, 0, "empty file"},
		{"text", []byte("console=ttyS0\n"), 0, "text file, not a kernel"},
		{"text, cut inside a character", []byte("Gr\xc3\xbc\xc3\x9fe \xe2\x82"), 0, "text file, not a kernel"},
		{"long text", []byte(strings.Repeat("line\n", 2000)), 0, "text file, not a kernel"},
		{"arm64 Image", arm64, 0, "arm64 Image, not an x86-64 kernel"},
		{"gzip'ed arm64 Image", gzipped(t, arm64), 0, "gzip-compressed arm64 Image, not an x86-64 kernel"},
		{"gzip'ed something", gzipped(t, []byte("something")), 0, "gzip-compressed file; unpack it first, if it is a kernel"},
		{"gzip magic only", []byte("\x1f\x8b"), 0, "gzip-compressed file; unpack it first, if it is a kernel"},
		{"EFI zboot", at(512, 0, "MZ\x00\x00zimg"), 0, "EFI zboot image, not an x86-64 kernel"},
		{"EFI program", at(512, 0, "MZ"), 0, "EFI or DOS program, not an x86-64 kernel"},
		{"RISC-V Image", at(512, 56, "RSC\x05"), 0, "RISC-V Image, not an x86-64 kernel"},
		{"xz", at(512, 0, "\xfd7zXZ\x00"), 0, "xz-compressed file; unpack it first"},
		{"cpio", []byte("07070100000001"), 0, "cpio archive, an initrd rather than a kernel"},
		{"boot sector", at(512, 510, "\x55\xaa"), 0, "boot sector without a Linux setup header: a disk image, or a kernel before Linux 1.3.73"},
		{"ELF for another machine", at(64, 0, "\x7fELF\x02\x01\x01", 16, "\x02", 18, "\xb7"), 0, "ELF file for arm64, not an x86-64 kernel"},
		{"ELF magic only", []byte("\x7fELF"), 0, "truncated ELF file: 4 bytes"},
		{"zeroes", make([]byte, 4096), 0, "neither bzImage nor ELF vmlinux (starts with 00 00 00 00 00 00 00 00)"},
		{"one byte", []byte{0x80}, 0, "neither bzImage nor ELF vmlinux (starts with 80)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Identify(tt.head)
			if got != tt.want {
				t.Errorf("kind %v, want %v", got, tt.want)
			}
			if tt.err != "" {
				wantError(t, err, tt.err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		BzImage.String(): "bzImage", Vmlinux.String(): "ELF vmlinux", Kind(9).String(): "Kind(9)",
		Linux64.String(): "64-bit boot protocol", PVH.String(): "PVH", EntryMode(9).String(): "EntryMode(9)",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
