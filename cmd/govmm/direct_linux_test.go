//go:build linuxtest

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"govmm/agent/guest"
	"govmm/bootimage/initramfs"
	"govmm/machine/guesttest"
)

func init() {
	if os.Getpid() == 1 && !guest.IsInit() {
		tellBases()
	}
}

// bases are where a kernel lies.
type bases struct{ virt, phys uint64 }

// selfInitrd is an initrd whose init is this test binary, which as process 1 is tellBases.
func selfInitrd(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	return guesttest.ProgramInitrd(t, program)
}

// tellBases is what the test binary does as the first process of a guest: it says where the kernel lies.
func tellBases() {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Println(err)
	}
	for file, mark := range map[string]string{"/proc/kallsyms": " _text", "/proc/iomem": "Kernel code"} {
		f, err := os.Open(file)
		if err != nil {
			fmt.Println(err)
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if strings.HasSuffix(lines.Text(), mark) {
				fmt.Println(lines.Text())
				break
			}
		}
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// bootBases asks a guest where its kernel lies.
func bootBases(t *testing.T, words, initrd string) bases {
	t.Helper()
	r := finish(t, command(t, "boot", "-a", "quiet "+words, guesttest.Kernel(t, usualKernel), initrd))
	if r.status != 0 || r.stderr != "" {
		t.Error(r)
	}
	var b bases
	for line := range strings.Lines(strings.ReplaceAll(r.stdout, "\r", "")) {
		hex, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case strings.HasSuffix(line, "_text\n"):
			b.virt, _ = strconv.ParseUint(hex, 16, 64)
		case strings.Contains(line, "Kernel code"):
			hex, _, _ = strings.Cut(hex, "-")
			b.phys, _ = strconv.ParseUint(hex, 16, 64)
		}
	}
	if b.virt == 0 || b.phys == 0 {
		t.Errorf("the guest does not say where its kernel lies: %v", r)
	}
	return b
}

// TestKASLR holds that each boot has bases of its own, all of them legal, and that nokaslr is honoured.
func TestKASLR(t *testing.T) {
	const atOnce = 2
	boots := guesttest.Count(t, "GOVMM_TEST_KASLR_BOOTS", 8)
	initrd := selfInitrd(t)
	var (
		mu   sync.Mutex
		virt = make(map[uint64]bool)
		phys = make(map[uint64]bool)
		wg   sync.WaitGroup
	)
	for range atOnce {
		wg.Go(func() {
			for range boots / atOnce {
				b := bootBases(t, "", initrd)
				mu.Lock()
				virt[b.virt], phys[b.phys] = true, true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	const (
		linked, virtEnd  = 0xffffffff_81000000, 0xffffffff_c0000000
		physMin, physEnd = 16 << 20, 512 << 20
		align, size      = 2 << 20, 32 << 20 // size: less than any of these kernels takes
	)
	for v := range virt {
		if v < linked || v+size > virtEnd || v%align != 0 {
			t.Errorf("virtual base %#x", v)
		}
	}
	for p := range phys {
		if p < physMin || p+size > physEnd || p%align != 0 {
			t.Errorf("physical base %#x", p)
		}
	}
	if len(virt) < boots-2 || len(phys) < boots*2/3 {
		t.Errorf("%d virtual and %d physical bases in %d boots", len(virt), len(phys), boots)
	}
	for range 2 {
		if b := bootBases(t, "nokaslr", initrd); b != (bases{linked, physMin}) {
			t.Errorf("with nokaslr: %#x", b)
		}
	}
}

// TestDirect boots each stock kernel unpacked by the host and by itself, with little and with much RAM.
func TestDirect(t *testing.T) {
	for _, kernel := range guesttest.Kernels {
		bootDirectAndNot(t, kernel, "160M", "6G")
	}
}

// TestTinyDirect does the same with govmm's own kernel, which needs less.
func TestTinyDirect(t *testing.T) { bootDirectAndNot(t, "tiny", "64M", "1G", "6G") }

func bootDirectAndNot(t *testing.T, kernel string, memory ...string) {
	path := guesttest.Kernel(t, kernel)
	for _, direct := range []string{"always", "never"} {
		for _, size := range memory {
			t.Run(kernel+"/"+direct+"/"+size, func(t *testing.T) {
				t.Parallel()
				info := bootInfo(t, "-m", size, "--direct", direct, path)
				if !strings.HasPrefix(info["kernel"], "6.1") {
					t.Errorf("the guest says %v", info)
				}
			})
		}
	}
}

// TestLowInitrd boots a kernel that takes no initrd above 4 GiB, in a guest that has RAM there.
func TestLowInitrd(t *testing.T) {
	const xloadflags, above4G = 0x236, 1 << 1
	b, err := os.ReadFile(guesttest.Kernel(t, usualKernel))
	if err != nil {
		t.Fatal(err)
	}
	b[xloadflags] &^= above4G
	kernel := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(kernel, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, direct := range []string{"always", "never"} {
		bootInfo(t, "-m", "6G", "--direct", direct, kernel)
	}
}

// TestTinyLargeInitrd gives a guest 200 MB of files, and has it read the last of them.
func TestTinyLargeInitrd(t *testing.T) {
	small, err := os.ReadFile(guesttest.Initramfs(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := initramfs.NewWriter(f)
	large := make([]byte, 50<<20)
	copy(large[len(large)-8:], "the end\n")
	for i := range 4 {
		if err := w.WriteFile(fmt.Sprint("large", i), 0o644, large); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(small); err != nil { // archives may follow one another
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, direct := range []string{"always", "never"} {
		r := finish(t, command(t, "boot", "-m", "1G", "--direct", direct, "-a", "quiet -- tail -c 8 /large3", guesttest.Kernel(t, "tiny"), path))
		if r.status != 0 || !strings.Contains(r.stdout, "the end") {
			t.Error(r)
		}
	}
}

// TestTinyCache boots with caches that are empty, warm, damaged, full and not there.
func TestTinyCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	entries := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, "govmm", "unpacked", strings.Repeat("?", 64)))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	boot := func(t *testing.T, want, says string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "timing")
		c := command(t, "boot", "--timing-json", file, "-a", "quiet", guesttest.Kernel(t, "tiny"), guesttest.SmallInitrd(t))
		c.Env = append(c.Env, "XDG_CACHE_HOME="+dir)
		if r := finish(t, c); r.status != 0 || (r.stderr != "") != (says != "") || !strings.Contains(r.stderr, says) || !strings.Contains(r.stdout, guesttest.InitLine[:10]) {
			t.Error(r)
		}
		if got := readStages(t, file); !got[want] {
			t.Errorf("no stage %q in %v", want, got)
		}
	}
	for _, step := range []struct {
		name, want string
		says       string // on standard error
		prepare    func() error
	}{
		{"empty", "kernel unpacked", "", func() error { return nil }},
		{"warm", "cache hit", "", func() error { return nil }},
		{"damaged", "kernel unpacked", "", func() error { return flipByte(entries()[0], 0x300000) }},
		{"warm again", "cache hit", "", func() error { return nil }},
		{"cut", "kernel unpacked", "", func() error { return os.Truncate(entries()[0], 12345) }},
		{"file system full", "kernel unpacked", "no space left on device", func() error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			return unix.Mount("none", dir, "tmpfs", 0, "size=8M")
		}},
		{"read-only", "kernel unpacked", "read-only file system", func() error {
			return unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}},
	} {
		if err := step.prepare(); err != nil {
			t.Fatal(step.name, err)
		}
		t.Run(step.name, func(t *testing.T) { boot(t, step.want, step.says) })
	}
}

func flipByte(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(path, b, 0o600) // in place
}

// readStages gives the names of the stages in the file that --timing-json wrote.
func readStages(t *testing.T, file string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var timing struct{ Stages []reached }
	if err := json.Unmarshal(b, &timing); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	before := int64(0)
	for _, s := range timing.Stages {
		if s.At < before || s.Took != s.At-before {
			t.Errorf("stage %+v comes after %d µs", s, before)
		}
		names[s.Stage], before = true, s.At
	}
	return names
}

// TestTiming holds that every stage of a direct boot is seen, in both forms.
func TestTiming(t *testing.T) {
	file := filepath.Join(t.TempDir(), "timing")
	kernel := guesttest.Kernel(t, usualKernel)
	bootInfo(t, kernel) // into the cache
	r := finish(t, command(t, "boot", "--timing", "--timing-json", file, "-a", "quiet -- true", kernel, guesttest.Initramfs(t)))
	if r.status != 0 {
		t.Fatal(r)
	}
	names := readStages(t, file)
	for _, s := range []string{"process start", "KVM set up", "cache hit", "loaded", "first guest instruction", "kernel entry", "first console byte", "init", "end"} {
		if !names[s] || !strings.Contains(r.stderr, s) {
			t.Errorf("stage %q is missing: %v; %v", s, names, r)
		}
	}
}
