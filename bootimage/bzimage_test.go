package bootimage

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestLoadBzImage(t *testing.T) {
	k := fakeKernel()
	k.trailer = []byte("signature")
	file := k.build()
	initrd := []byte("initial RAM disk")
	p := Params{Cmdline: "console=ttyS0", Initrd: initrd, Memory: guestMemory(128 * mib), RSDP: 0xe0000}
	plan := mustLoad(t, file, p)

	if plan.Kind != BzImage || plan.Version != k.version {
		t.Errorf("kind %v, version %q", plan.Kind, plan.Version)
	}
	if want := (Entry{Linux64, 16*mib + 0x200, 0x7000}); plan.Entry != want {
		t.Errorf("entry %+v, want %+v", plan.Entry, want)
	}
	kernel := segment(t, plan, "kernel")
	if kernel.Addr != 16*mib || kernel.Size != 16*mib || !bytes.Equal(kernel.Data, k.code) {
		t.Errorf("kernel: %d bytes at %#x, size %#x", len(kernel.Data), kernel.Addr, kernel.Size)
	}
	rd := segment(t, plan, "initrd")
	if rd.Addr != 128*mib-pageSize || !bytes.Equal(rd.Data, initrd) {
		t.Errorf("initrd %q at %#x", rd.Data, rd.Addr)
	}
	if c := segment(t, plan, "command line"); c.Addr != 0x20000 || string(c.Data) != "console=ttyS0\x00" {
		t.Errorf("command line %q at %#x", c.Data, c.Addr)
	}
	b := segment(t, plan, "boot_params").Data
	if b[0x1ef] != 0 || le32(b, offRamdiskImage) != uint32(rd.Addr) || le32(b, offRamdiskSize) != uint32(len(initrd)) {
		t.Error("boot_params: sentinel or ramdisk")
	}
}

func TestBytesAreNotCopied(t *testing.T) {
	for _, file := range [][]byte{fakeKernel().build(), fakeVmlinux().build()} {
		initrd := make([]byte, 100)
		plan := mustLoad(t, file, Params{Initrd: initrd, Memory: guestMemory(64 * mib)})
		kernel := segment(t, plan, "kernel").Data
		if at := bytes.Index(file, kernel); &kernel[0] != &file[at] {
			t.Errorf("%v: the kernel's bytes were copied", plan.Kind)
		}
		if &segment(t, plan, "initrd").Data[0] != &initrd[0] {
			t.Errorf("%v: the initrd's bytes were copied", plan.Kind)
		}
		if cap(kernel) != len(kernel) {
			t.Errorf("%v: append to a segment would write into the file", plan.Kind)
		}
	}
}

func TestVersionString(t *testing.T) {
	tests := []struct {
		name    string
		version string
		patch   func(file []byte)
		want    string
	}{
		{"none", "", nil, ""},
		{"plain", "6.1 #1", nil, "6.1 #1"},
		{"escape sequence", "6.1 \x1b[2J", nil, "6.1 "},
		{"not ended", strings.Repeat("v", 1000), nil, strings.Repeat("v", maxVersion)},
		{"behind the setup code", "6.1", func(f []byte) { f[offKernelVer], f[offKernelVer+1] = 0xff, 0xff }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := fakeKernel()
			k.version = tt.version
			file := k.build()
			if tt.patch != nil {
				tt.patch(file)
			}
			if got := mustLoad(t, file, Params{Memory: guestMemory(64 * mib)}).Version; got != tt.want {
				t.Errorf("version %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSetupSectsZeroMeansFour(t *testing.T) {
	k := fakeKernel()
	k.setupSects = 0
	plan := mustLoad(t, k.build(), Params{Memory: guestMemory(64 * mib)})
	if !bytes.Equal(segment(t, plan, "kernel").Data, k.code) {
		t.Error("the code was taken from the wrong place")
	}
}

func TestBzImageErrors(t *testing.T) {
	tests := []struct {
		name string
		mod  func(k *fakeBzImage)
		mem  uint64
		want string
	}{
		{"old protocol", func(k *fakeBzImage) { k.protocol = 0x20a }, 0,
			"bzImage of boot protocol 2.10; the 64-bit entry needs 2.12 (Linux 3.8) or newer"},
		{"32-bit kernel", func(k *fakeBzImage) { k.xloadflags = 0 }, 0,
			"32-bit bzImage (boot protocol 2.15 without XLF_KERNEL_64); a 64-bit x86 kernel is needed"},
		{"zImage", func(k *fakeBzImage) { k.loadflags = 0 }, 0,
			"zImage, a kernel to be loaded below 1 MiB; a bzImage is needed"},
		{"no code", func(k *fakeBzImage) { k.code = make([]byte, 0x200) }, 0,
			"bzImage with 512 bytes of code (syssize), too few to hold the 64-bit entry"},
		{"alignment", func(k *fakeBzImage) { k.align = 3 }, 0,
			"bzImage with a kernel_alignment of 0x3, which is no power of two"},
		{"no alignment", func(k *fakeBzImage) { k.align = 0 }, 0,
			"bzImage with a kernel_alignment of 0x0, which is no power of two"},
		{"init_size", func(k *fakeBzImage) { k.initSize = 16 }, 0,
			"bzImage with an init_size of 16, less than its 1024 bytes of code"},
		{"low kernel", func(k *fakeBzImage) { k.prefAddress, k.relocatable = 0x1000, 0 }, 0,
			"bzImage that wants to lie at 0x1000, which is not between 1 MiB and 4 GiB"},
		{"high kernel", func(k *fakeBzImage) { k.prefAddress = math.MaxUint64 }, 0,
			"bzImage that wants to lie at 0xffffffffffffffff, which is not between 1 MiB and 4 GiB"},
		{"no memory", func(k *fakeBzImage) {}, 31 * mib,
			"the kernel needs 32 MiB of RAM, the guest has 31 MiB"},
		{"no memory in a large guest", func(k *fakeBzImage) { k.initSize = 3 * gib }, 64 * gib,
			"the kernel needs 3088 MiB of RAM below 4 GiB, the guest has 3072 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := fakeKernel()
			tt.mod(&k)
			mem := tt.mem
			if mem == 0 {
				mem = gib
			}
			_, err := Load(k.build(), Params{Memory: guestMemory(mem)})
			wantError(t, err, tt.want)
		})
	}
}

func TestTruncatedBzImage(t *testing.T) {
	file := fakeKernel().build()
	_, err := Load(file[:len(file)-1], Params{Memory: guestMemory(64 * mib)})
	wantError(t, err, "truncated bzImage: 3071 bytes, the header says 3072")
	_, err = Load(file[:0x210], Params{Memory: guestMemory(64 * mib)})
	wantError(t, err, "truncated bzImage: 528 bytes, the setup header ends at 612")
	_, err = Load(file[:0x270], Params{Memory: guestMemory(64 * mib)})
	wantError(t, err, "truncated bzImage: 624 bytes, the header says 3072")
}

func TestHeaderOfOddLength(t *testing.T) {
	file := fakeKernel().build()
	file[offJump+1] = 0x10
	_, err := Load(file, Params{Memory: guestMemory(64 * mib)})
	wantError(t, err, "bzImage with a setup header that ends at 0x212; 0x264 or more is needed")

	// A header longer than its room in boot_params must not reach the E820 table.
	file[offJump+1] = 0xff
	plan := mustLoad(t, file, Params{Memory: guestMemory(64 * mib)})
	b := segment(t, plan, "boot_params").Data
	if b[offHeaderLimit-1] != 0xcc || b[offHeaderLimit] != 0 {
		t.Errorf("bytes around the header's limit: % x", b[offHeaderLimit-2:offHeaderLimit+2])
	}
}

func TestCommandLineLimit(t *testing.T) {
	bz, elf := fakeKernel(), fakeVmlinux().build()
	bz.cmdlineSize = 300
	huge := fakeKernel()
	huge.cmdlineSize = math.MaxUint32
	tests := []struct {
		name   string
		kernel []byte
		n      int
		want   string // "" if it fits
	}{
		{"bzImage, most", bz.build(), 300, ""},
		{"bzImage, too many", bz.build(), 301, "the command line has 301 characters, the kernel takes at most 300 (boot protocol 2.15)"},
		{"vmlinux, most", elf, 2047, ""},
		{"vmlinux, too many", elf, 2048, "the command line has 2048 characters, the kernel takes at most 2047 (COMMAND_LINE_SIZE)"},
		{"room, most", huge.build(), 0xffff, ""},
		{"room, too many", huge.build(), 0x10000, "the command line has 65536 characters, there is room for 65535"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Params{Cmdline: strings.Repeat("x", tt.n), Memory: guestMemory(64 * mib)}
			if tt.want == "" {
				mustLoad(t, tt.kernel, p)
				return
			}
			_, err := Load(tt.kernel, p)
			wantError(t, err, tt.want)
		})
	}
	_, err := Load(elf, Params{Cmdline: "a\x00b", Memory: guestMemory(64 * mib)})
	wantError(t, err, "the command line contains a NUL character")
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
