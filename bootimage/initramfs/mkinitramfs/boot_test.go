//go:build nestedtest

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests boot the archive with QEMU's software emulation, which needs neither privileges nor /dev/kvm. The kernels are
// those of cmd/nested, or those in the directory that GOVMM_KERNELS names: NAME/boot/vmlinuz-* and
// NAME/lib/modules/*.

const bootTimeout = 3 * time.Minute

type kernelFiles struct{ image, modules string }

func findKernel(t *testing.T, name string) kernelFiles {
	t.Helper()
	dir := os.Getenv("GOVMM_KERNELS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(cache, "govmm", "kernels")
	}
	dir = filepath.Join(dir, name)
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	modules, _ := filepath.Glob(filepath.Join(dir, "lib", "modules", "*"))
	if len(images) != 1 || len(modules) != 1 {
		t.Fatalf("no kernel in %s: fetch it with \"go run ./cmd/nested setup\"", dir)
	}
	return kernelFiles{images[0], modules[0]}
}

func makeArchive(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "initramfs.cpio")
	cfg, err := parseFlags(append([]string{"-o", file, "-uroot", "../uroot"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return file
}

// A guest is a running QEMU.
type guest struct {
	t     *testing.T
	input io.Writer
	lines chan []byte // what the serial line says, in pieces
	seen  []byte      // not yet matched by expect
	ended chan error
}

func boot(t *testing.T, machine string, k kernelFiles, initrd, cmdline string, args ...string) *guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-M", machine, "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", k.image, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet " + cmdline,
	}, args...)...)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, input: input, lines: make(chan []byte), ended: make(chan error, 1)}
	go func() {
		defer close(g.lines)
		for {
			buf := make([]byte, 4096)
			n, err := output.Read(buf)
			select {
			case g.lines <- buf[:n]:
			case <-ctx.Done():
			}
			if err != nil {
				g.ended <- cmd.Wait()
				return
			}
		}
	}()
	return g
}

func (g *guest) send(s string) {
	g.t.Helper()
	if _, err := io.WriteString(g.input, s); err != nil {
		g.t.Fatal(err)
	}
}

// expect waits until the guest has printed s, and gives all that it printed up to there.
func (g *guest) expect(s string) string {
	g.t.Helper()
	for {
		if i := bytes.Index(g.seen, []byte(s)); i >= 0 {
			end := i + len(s)
			out := string(g.seen[:end])
			g.seen = g.seen[end:]
			return out
		}
		p, ok := <-g.lines
		if !ok {
			g.t.Fatalf("the guest ended before it printed %q; its last words were\n%s", s, g.seen)
		}
		g.seen = append(g.seen, p...)
	}
}

// wait waits for the guest to power off, and gives the rest of what it printed.
func (g *guest) wait() string {
	g.t.Helper()
	for p := range g.lines {
		g.seen = append(g.seen, p...)
	}
	if err := <-g.ended; err != nil {
		g.t.Fatalf("QEMU: %v after\n%s", err, g.seen)
	}
	return string(g.seen)
}

func newDisk(t *testing.T) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.img")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", disk, "32M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	return disk
}

func fileOnDisk(t *testing.T, disk, name string) string {
	t.Helper()
	if out, err := exec.Command("e2fsck", "-fn", disk).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	out, err := exec.Command("debugfs", "-R", "cat "+name, disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestBoot runs the demonstration from the command line and then a shell, on virtio-pci and, found through
// ACPI, virtio-mmio.
func TestBoot(t *testing.T) {
	for _, test := range []struct {
		kernel, machine, disk, nic string
		args                       []string
	}{
		{kernel: "6.1-cloud", machine: "q35", disk: "virtio-blk-pci", nic: "virtio-net-pci"},
		{kernel: "6.1-full", machine: "q35", disk: "virtio-blk-pci", nic: "virtio-net-pci"},
		{kernel: "6.12-cloud", machine: "q35", disk: "virtio-blk-pci", nic: "virtio-net-pci"},
		// In virtual time, because on a busy host the kernel does not come to an end with measuring this machine's clock.
		{
			kernel: "6.12-cloud", machine: "microvm,acpi=on", disk: "virtio-blk-device", nic: "virtio-net-device",
			args: []string{"-icount", "shift=1,sleep=off"},
		},
	} {
		t.Run(test.kernel+"/"+test.disk, func(t *testing.T) {
			k := findKernel(t, test.kernel)
			initrd := makeArchive(t, "-modules", k.modules)
			disk := newDisk(t)
			devices := append(test.args,
				"-drive", "if=none,id=disk,format=raw,file="+disk, "-device", test.disk+",drive=disk",
				"-netdev", "user,id=net", "-device", test.nic+",netdev=net",
			)

			out := boot(t, test.machine, k, initrd, "-- demo some 'text  of' mine", devices...).wait()
			for _, want := range []string{
				"\r\nkernel=" + filepath.Base(k.modules) + "\r\n", "\r\ncpus=1\r\n", "\r\nblock.vda=33554432\r\n", "\r\nnet.eth0=52:54:", "\r\ndemo=done\r\n",
			} {
				if !strings.Contains("\r\n"+out, want) {
					t.Errorf("the demonstration did not print %q but\n%s", want, out)
				}
			}
			if got := fileOnDisk(t, disk, "/govmm-demo.txt"); got != "some text  of mine\n" {
				t.Errorf("the disk has %q", got)
			}
			testShell(t, boot(t, test.machine, k, initrd, "NAME=value", devices...))
		})
	}
}

func testShell(t *testing.T, g *guest) {
	t.Helper()
	if seen := g.expect("# "); strings.Contains(seen, "init: ") {
		t.Errorf("init complains:\n%s", seen)
	}
	g.send("echo hello-$((6*7)) $NAME $TERM\n")
	if seen := g.expect("hello-42 value dumb\r\n# "); strings.ContainsRune(seen, '\x1b') {
		t.Errorf("escape sequences in %q", seen)
	}
	g.send("ip addr show; dhclient -ipv6=false -timeout 10 eth0; ip addr show eth0\n")
	g.expect("10.0.2.15/24")
	g.send("sleep 1000\n")
	g.expect("sleep 1000\r\n")
	g.send("\x03")
	g.expect("# ")
	g.send("exit 7\n")
	if rest := g.wait(); !strings.Contains(rest, "init: /bin/sh: exit status 7\r\n") {
		t.Errorf("the shell's end is told as\n%s", rest)
	}
}

// TestStart boots an archive with commands in it; the command line comes before them.
func TestStart(t *testing.T) {
	k := findKernel(t, "6.12-cloud")
	initrd := makeArchive(t, "-start", "echo from-the-archive; sh -c 'sleep 0 &'; id; exit 5")
	out := boot(t, "q35", k, initrd, "").wait()
	for _, want := range []string{"from-the-archive\r\n", "uid=0(root)", "init: /etc/govmm/start: exit status 5\r\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := boot(t, "q35", k, initrd, "-- echo from-the-command-line").wait(); !strings.Contains(out, "from-the-command-line\r\n") || strings.Contains(out, "from-the-archive") {
		t.Errorf("with a command on the kernel's command line:\n%s", out)
	}
}

// TestLineEditor boots with a terminal named on the command line.
func TestLineEditor(t *testing.T) {
	k := findKernel(t, "6.12-cloud")
	g := boot(t, "q35", k, makeArchive(t), "TERM=xterm")
	g.expect("# ")
	g.send("echo $TERM-$((6*7))\r")
	g.expect("xterm-42\r\n")
	g.expect("# ")
	g.send("poweroff\r")
	g.wait()
}

// TestReproducible compiles everything twice, in different places and at different times.
func TestReproducible(t *testing.T) {
	k := findKernel(t, "6.12-cloud")
	var archives [2][]byte
	for i := range archives {
		dir := t.TempDir()
		uroot := filepath.Join(dir, fmt.Sprint("copy", i))
		if err := os.CopyFS(uroot, os.DirFS("../uroot")); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", dir)
		file := makeArchive(t, "-cache", filepath.Join(dir, "cache"), "-uroot", uroot, "-modules", k.modules)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = data
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two builds differ")
	}
	const limit = 12_000_000
	if len(archives[0]) > limit {
		t.Errorf("the archive has %d bytes, more than %d", len(archives[0]), limit)
	}
}
