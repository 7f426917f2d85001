//go:build linuxtest

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"govmm/machine/guesttest"
)

// usualKernel is the one of the tests that are not about kernels.
const usualKernel = "6.12-cloud"

// tool runs one of the host's programs.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// ext4Image makes a disk with an empty file system.
func ext4Image(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk.img")
	tool(t, "/sbin/mke2fs", "-q", "-t", "ext4", image, "64M")
	return image
}

// TestStockKernels boots each stock kernel as a person would, works in its shell and on its disk, and looks at
// the disk afterwards.
func TestStockKernels(t *testing.T) {
	for _, kernel := range guesttest.Kernels {
		for _, cpus := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s/%d", kernel, cpus), func(t *testing.T) {
				workInGuest(t, guesttest.Kernel(t, kernel), cpus)
			})
		}
	}
}

// TestTinyKernel does the same with govmm's own kernel, by both of its entries.
func TestTinyKernel(t *testing.T) {
	for name, kernel := range map[string]string{"bzImage": guesttest.Kernel(t, "tiny"), "vmlinux": guesttest.Vmlinux(t, "tiny")} {
		for _, cpus := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s/%d", name, cpus), func(t *testing.T) { workInGuest(t, kernel, cpus) })
		}
	}
}

// workInGuest boots a guest to its shell, works there and on its disk, powers it off, and looks at the disk.
func workInGuest(t *testing.T, kernel string, cpus int) {
	t.Helper()
	image := ext4Image(t)
	s := startSession(t, "-a", "quiet", "-c", strconv.Itoa(cpus), "-d", image, kernel, guesttest.Initramfs(t))
	if got := s.run("echo hello-$((6*7))"); got != "hello-42" {
		t.Errorf("the shell answers %q", got)
	}
	if got := guestInfo(s)["cpus"]; got != strconv.Itoa(cpus) {
		t.Errorf("the guest has %s CPUs of %d", got, cpus)
	}
	sum := writeFile(s, "/dev/vda")
	s.powerOff()
	checkFile(t, image, sum)
}

// guestInfo is what the guest's command of that name says.
func guestInfo(s *session) map[string]string {
	s.t.Helper()
	info := make(map[string]string)
	for line := range strings.Lines(s.run("guestinfo")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		info[name] = value
	}
	return info
}

const fileName, fileSize = "random", 4 << 20

// writeFile has the guest write a file of random bytes to its disk, and gives the sum of them as the guest
// reads them back.
func writeFile(s *session, disk string) (sum string) {
	s.t.Helper()
	s.run("mkdir -p /mnt")
	s.run("mount -t ext4 " + disk + " /mnt")
	s.run(fmt.Sprintf("dd if=/dev/urandom of=/mnt/%s bs=%d count=1", fileName, fileSize))
	s.run("umount /mnt") // and with it out of the page cache
	s.run("mount -t ext4 " + disk + " /mnt")
	sum = guestSum(s, "/mnt/"+fileName)
	s.run("sync")
	s.run("umount /mnt")
	return sum
}

func guestSum(s *session, file string) string {
	s.t.Helper()
	out := s.run("shasum -a 256 " + file)
	sum, _, _ := strings.Cut(out, " ")
	if len(sum) != 2*sha256.Size {
		s.fatalf("shasum printed %q", out)
	}
	return sum
}

// checkFile looks at the image without mounting it: the file system is clean, and the file is the guest's.
func checkFile(t *testing.T, image, sum string) {
	t.Helper()
	tool(t, "/sbin/e2fsck", "-fn", image)
	file := filepath.Join(t.TempDir(), fileName)
	tool(t, "/sbin/debugfs", "-R", "dump /"+fileName+" "+file, image)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := hexSum(b); len(b) != fileSize || got != sum {
		t.Errorf("the disk has a file of %d bytes with sum %s, the guest wrote %d with %s", len(b), got, fileSize, sum)
	}
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestMemorySizes has the guest count its memory. The largest is more than the test host has: what the guest
// does not touch is not there.
func TestMemorySizes(t *testing.T) {
	for name, size := range map[string]uint64{"128M": 128 << 20, "1G": 1 << 30, "6G": 6 << 30} {
		t.Run(name, func(t *testing.T) {
			info := bootInfo(t, "-m", name, guesttest.Kernel(t, usualKernel))
			got, err := strconv.ParseUint(info["memory"], 10, 64)
			// What is not in the figure: the kernel's code and data, its record of 64 bytes for each page of
			// 4096, and where there is RAM above 4 GiB a bounce buffer of 64 MiB below.
			if least := size - 40<<20 - size/32; err != nil || got < least || got > size {
				t.Errorf("the guest has %q bytes, want %d to %d", info["memory"], least, size)
			}
		})
	}
}

// TestVmlinux boots the ELF file that is inside a stock kernel, which is entered by PVH.
func TestVmlinux(t *testing.T) {
	info := bootInfo(t, "-c", "2", guesttest.Vmlinux(t, usualKernel))
	if info["cpus"] != "2" || !strings.HasPrefix(info["kernel"], "6.12.") {
		t.Errorf("the guest says %v", info)
	}
}

// bootInfo boots a guest that says what it sees and powers off. args end with the kernel.
func bootInfo(t *testing.T, args ...string) map[string]string {
	t.Helper()
	r := finish(t, command(t, append(append([]string{"boot", "-a", "quiet -- guestinfo"}, args...), guesttest.Initramfs(t))...))
	if r.status != 0 || r.stderr != "" {
		t.Fatal(r)
	}
	info := make(map[string]string)
	for line := range strings.Lines(r.stdout) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		info[name] = value
	}
	if info["kernel"] == "" {
		t.Fatalf("the guest does not say what it sees: %v", r)
	}
	return info
}

// TestPipeline runs govmm as a script does, with neither end a terminal.
func TestPipeline(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	govmm := command(t, "boot", "-a", "quiet -- echo hello-$((6*7))", guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t))
	script := `{ "$@" </dev/null; echo "status $?"; } | tee ` + log + ` >/dev/null`
	c := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", script, "sh"}, govmm.Args...)...)
	c.Args[4] = govmm.Path
	c.Env = govmm.Env
	if r := finish(t, c); r.status != 0 || r.stderr != "" {
		t.Error(r)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	s := "\n" + strings.ReplaceAll(string(b), "\r", "")
	if !strings.Contains(s, "\nhello-42\n") || !strings.HasSuffix(s, "\nstatus 0\n") {
		t.Errorf("the log ends in:%s", tail(s))
	}
}

// TestEnds holds that a guest which restarts, by itself or in a panic, ends the run with status 0.
func TestEnds(t *testing.T) {
	for _, tt := range []struct{ name, cpus, words, says string }{
		{"reboot", "1", "-- shutdown -r now", "reboot: Restarting system"},
		{"reboot", "2", "-- shutdown -r now", "reboot: Restarting system"},
		{"panic", "2", "-- echo c >/proc/sysrq-trigger", "Kernel panic - not syncing: sysrq triggered crash"},
		{"init ends", "1", "rdinit=/bin/echo", "Kernel panic - not syncing: Attempted to kill init!"},
	} {
		t.Run(tt.name+"/"+tt.cpus, func(t *testing.T) {
			r := finish(t, command(t, "boot", "-c", tt.cpus, "-a", "quiet "+tt.words, guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t)))
			if r.status != 0 || r.stderr != "" || !strings.Contains(r.stdout, tt.says) {
				t.Errorf("want status 0 and %q: %v", tt.says, r)
			}
		})
	}
}

// TestTinyPaste pastes a text of 24 KiB, several times what any buffer between person and guest holds, in lines as a terminal's line discipline takes them, and compares what arrived.
func TestTinyPaste(t *testing.T) {
	var text bytes.Buffer
	for i := 0; text.Len() < 24<<10; i++ {
		fmt.Fprintf(&text, "%06d %s\n", i, strings.Repeat("abcdefghijklmnopqrstuvwxyz0123456789", i%5+1))
	}
	const lastLine, endOfInput = "the last line", "\x04"
	text.WriteString(lastLine + "\n")
	s := startSession(t, "-a", "quiet", guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t))
	s.typeLine("cat >/tmp/paste")
	// The end of a line is a carriage return, as the Enter key has it.
	s.typeLine(strings.ReplaceAll(strings.TrimSuffix(text.String(), "\n"), "\n", "\r"))
	s.await(regexp.MustCompile(lastLine))
	if _, err := s.person.WriteString(endOfInput); err != nil {
		t.Fatal(err)
	}
	s.await(prompt)
	if got, want := guestSum(s, "/tmp/paste"), hexSum(text.Bytes()); got != want {
		s.fatalf("%d bytes were pasted, wc says %s; sum %s, want %s", text.Len(), s.run("wc -c /tmp/paste"), got, want)
	}
	s.powerOff()
}

// TestCheck asks what the test host offers, which is what hardware does.
func TestCheck(t *testing.T) {
	r := finish(t, command(t, "check"))
	if r.status != 0 || r.stderr != "" || !strings.Contains(r.stdout, "hardware") {
		t.Error(r)
	}
	r = finish(t, command(t, "check", "--json"))
	var report struct {
		CanBoot bool `json:"can_boot"`
		Items   []struct{ Name, Status, Detail string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.status != 0 || !report.CanBoot || len(report.Items) == 0 {
		t.Errorf("%v: %v", err, r)
	}
}

// TestTruncatedKernel cuts a stock kernel short, as an interrupted download does.
func TestTruncatedKernel(t *testing.T) {
	whole, err := os.ReadFile(guesttest.Kernel(t, usualKernel))
	if err != nil {
		t.Fatal(err)
	}
	dir := inputDir(t)
	var inputs []badInput
	for _, size := range []int{600, 1 << 20, len(whole) / 2, len(whole) - 64<<10} {
		name := fmt.Sprint(size)
		if err := os.WriteFile(filepath.Join(dir, name), whole[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, badInput{name, []string{"-d", "disk.img", name}, "truncated", ""})
	}
	checkBadInputs(t, dir, inputs)
}
