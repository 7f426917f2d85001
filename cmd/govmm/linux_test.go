//go:build linuxtest

package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"govmm/bootimage/initramfs"
)

// What these tests need is named by the environment, because they run inside the nested
// test host, where nothing can be fetched. make test-linux sets it.
const (
	envKernels   = "GOVMM_TEST_KERNELS"   // directory with the stock kernels: 6.1-cloud, 6.12-cloud, 6.1-full
	envInitramfs = "GOVMM_TEST_INITRAMFS" // the u-root initramfs with those kernels' modules
)

var stockKernels = []string{"6.1-cloud", "6.12-cloud", "6.1-full"}

// need is a file that the environment names, or the end of the test with what to do.
func need(t testing.TB, env string, elem ...string) string {
	t.Helper()
	dir := os.Getenv(env)
	if dir == "" {
		t.Fatalf("%s is not set; run this test with: make test-linux", env)
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run this test with: make test-linux", err)
	}
	return path
}

func stockKernel(t testing.TB, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(need(t, envKernels, name), "boot", "vmlinuz-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("kernel %s: found %v, %v; run this test with: make test-linux", name, found, err)
	}
	return found[0]
}

const (
	initLine = "hello from init\n"

	linuxRebootMagic1 = 0xfee1dead
	linuxRebootMagic2 = 0x28121969
	linuxPowerOff     = 0x4321fedc
)

// smallInit is a Linux program in hand-written code, which says initLine and powers the
// machine off:
//
//	mov eax, 1; mov edi, 1; lea rsi, [rip+line]; mov edx, len; syscall   write
//	mov eax, 169; mov edi, magic1; mov esi, magic2; mov edx, off; syscall  reboot
//	jmp $
func smallInit() []byte {
	le := binary.LittleEndian
	code := []byte{0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0}
	const toLine = 7 + 5 + 2 + 5 + 5 + 5 + 5 + 2 + 2 // from the lea to behind the jmp
	code = le.AppendUint32(append(code, 0x48, 0x8d, 0x35), toLine-7)
	code = append(le.AppendUint32(append(code, 0xba), uint32(len(initLine))), 0x0f, 0x05)
	code = le.AppendUint32(append(code, 0xb8), 169)
	code = le.AppendUint32(append(code, 0xbf), linuxRebootMagic1)
	code = le.AppendUint32(append(code, 0xbe), linuxRebootMagic2)
	code = le.AppendUint32(append(code, 0xba), linuxPowerOff)
	code = append(code, 0x0f, 0x05, 0xeb, 0xfe)
	code = append(code, initLine...)

	const base, headers = 0x40_0000, 64 + 56
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, le, v) }
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	put([]uint16{2, 62})
	put(uint32(1))
	put([]uint64{base + headers, 64, 0})
	put(uint32(0))
	put([]uint16{64, 56, 1, 64, 0, 0})
	put([]uint32{1, 5})
	size := uint64(headers + len(code))
	put([]uint64{0, base, base, size, size, 0x1000})
	b.Write(code)
	return b.Bytes()
}

// writeSmallInitrd makes an initrd of about 1 MB whose init is smallInit.
func writeSmallInitrd(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "initrd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := initramfs.NewWriter(f)
	for _, err := range []error{
		w.Mkdir("dev", 0o755),
		w.Mknod("dev/console", os.ModeDevice|os.ModeCharDevice|0o600, 5, 1),
		w.WriteFile("init", 0o755, smallInit()),
		w.WriteFile("ballast", 0o644, make([]byte, 1<<20)),
		w.Close(), f.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}
