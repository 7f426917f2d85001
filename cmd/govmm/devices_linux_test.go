//go:build linuxtest

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/machine/guesttest"
)

// TestDrivers has guests find each device, use it, and take its driver away and give it back, also at work.
func TestDrivers(t *testing.T) {
	for _, kernel := range netKernels {
		t.Run(kernel, func(t *testing.T) { drivers(t, guesttest.Kernel(t, kernel)) })
	}
}

// TestTinyDrivers does the same with govmm's own kernel, over either transport.
func TestTinyDrivers(t *testing.T) {
	for _, transport := range []string{"pci", "mmio"} {
		t.Run(transport, func(t *testing.T) { drivers(t, guesttest.Kernel(t, "tiny"), "--transport", transport) })
	}
}

func drivers(t *testing.T, kernel string, flags ...string) {
	t.Helper()
	s := startSession(t, append(flags, "-a", "quiet", "-m", "1G", "-c", "2", "-d", ext4Image(t)+",serial=first", "-n", "user", "--balloon",
		kernel, guesttest.Initramfs(t))...)
	for driver, device := range map[string]string{"virtio_blk": "virtio0", "virtio_net": "virtio1", "virtio_rng": "virtio2", "virtio_balloon": "virtio3"} {
		s.run(fmt.Sprintf("ls /sys/bus/virtio/drivers/%s/%s/features", driver, device))
	}
	if got := s.run("cat /sys/block/vda/serial"); got != "first" {
		t.Errorf("the disk's serial number is %q", got)
	}
	if !slices.Contains(flags, "mmio") {
		// Each queue has an interrupt of its own, and the disk one for each vCPU.
		interrupts := s.run("cat /proc/interrupts")
		for _, name := range []string{"virtio0-req.0", "virtio0-req.1", "virtio1-input.0", "virtio1-output.0", "virtio2-input", "virtio3-inflate", "virtio3-reporting_vq"} {
			if !strings.Contains(interrupts, name) {
				t.Errorf("no interrupt %s in:\n%s", name, interrupts)
			}
		}
	}
	s.run("dd if=/dev/hwrng of=/tmp/random bs=64 count=1")
	lease(s)
	sum := writeFile(s, "/dev/vda")

	rebind(s, "virtio", "virtio_blk", "virtio0", "dd if=/dev/vda of=/dev/null bs=64K")
	s.run("mount -t ext4 /dev/vda /mnt")
	if got := guestSum(s, "/mnt/"+fileName); got != sum {
		t.Errorf("the file's sum is %s, was %s", got, sum)
	}
	s.run("umount /mnt")
	rebind(s, "virtio", "virtio_net", "virtio1", "ping -c 100 -i 0.01 10.0.2.2")
	lease(s)
	s.run("ping -c 2 10.0.2.2")
	rebind(s, "virtio", "virtio_rng", "virtio2", "dd if=/dev/hwrng of=/dev/null bs=64K count=50")
	rebind(s, "virtio", "virtio_balloon", "virtio3", "true")
	if !slices.Contains(flags, "mmio") {
		rebind(s, "pci", "virtio-pci", "0000:00:01.0", "dd if=/dev/vda of=/dev/null bs=64K")
		s.run("dd if=/dev/vda of=/dev/null bs=64K count=16")
	}
	s.powerOff()
}

// rebind takes a device from its driver while the guest runs work, and gives it back, three times.
func rebind(s *session, bus, driver, device, work string) {
	s.t.Helper()
	for range 3 {
		s.try("{ " + work + " >/dev/null 2>&1 & }")
		s.run(fmt.Sprintf("echo %s >/sys/bus/%s/drivers/%s/unbind", device, bus, driver))
		s.try("wait") // a disk that is open keeps its name, and the next one gets another
		s.run(fmt.Sprintf("echo %s >/sys/bus/%s/drivers/%s/bind", device, bus, driver))
	}
}

// TestFreedMemory holds that memory which the guest frees goes back to the host.
func TestFreedMemory(t *testing.T) {
	s := startSession(t, "-a", "quiet", "-m", "1G", "--balloon", guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t))
	const size = 512 << 20
	s.run("mkdir -p /big")
	s.run("mount -t tmpfs -o size=600m tmpfs /big")
	before := resident(t, s.cmd.Process.Pid)
	s.run(fmt.Sprintf("dd if=/dev/zero of=/big/file bs=1M count=%d", size>>20))
	used := resident(t, s.cmd.Process.Pid)
	if used-before < size*9/10 {
		t.Fatalf("the guest has touched %d MiB, of %d", (used-before)>>20, size>>20)
	}
	s.run("rm /big/file")
	var left int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		if left = resident(t, s.cmd.Process.Pid); used-left >= size*9/10 {
			s.powerOff()
			return
		}
	}
	t.Errorf("only %d MiB of %d came back", (used-left)>>20, size>>20)
}

// TestTinyBalloon has a guest do without memory that the balloon takes, get some of it back when it has nothing else left, and the host get back what is freed.
func TestTinyBalloon(t *testing.T) {
	const target = 256 << 20
	s := startSession(t, "-a", "quiet", "-m", "768M", "--balloon=256M", guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t))
	const total = 768 << 20
	for deadline := time.Now().Add(patience); memFree(s) > total-target; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("the guest has %d MiB free with a balloon of %d MiB", memFree(s)>>20, target>>20)
		}
	}
	s.run("mkdir -p /big")
	s.run("mount -t tmpfs -o size=700m tmpfs /big")
	// More than there is without the balloon's memory.
	s.run(fmt.Sprintf("dd if=/dev/zero of=/big/file bs=1M count=%d", (total-target)>>20))
	used := resident(t, s.cmd.Process.Pid)
	s.run("rm /big/file")
	var left int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		if left = resident(t, s.cmd.Process.Pid); used-left >= (total-target)*9/10 {
			s.powerOff()
			return
		}
	}
	t.Errorf("only %d MiB of %d came back", (used-left)>>20, (total-target)>>20)
}

// memFree is the memory that the guest has free, in bytes.
func memFree(s *session) int {
	s.t.Helper()
	_, after, _ := strings.Cut(s.run("cat /proc/meminfo"), "MemFree:")
	n, err := strconv.Atoi(strings.Fields(after + " -")[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return n << 10
}

// resident is the anonymous memory of a process in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "RssAnon:")
	n, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// TestVirtioConsole types into hvc0 and resizes the terminal. Input that waits from the start is not lost.
func TestVirtioConsole(t *testing.T) {
	for _, kernel := range netKernels {
		t.Run(kernel, func(t *testing.T) { virtioConsoleWorks(t, guesttest.Kernel(t, kernel)) })
	}
}

// TestTinyConsole does the same with govmm's own kernel.
func TestTinyConsole(t *testing.T) { virtioConsoleWorks(t, guesttest.Kernel(t, "tiny")) }

func virtioConsoleWorks(t *testing.T, kernel string) {
	t.Helper()
	s := startSession(t, "-a", "quiet", "--console", "virtio", kernel, guesttest.Initramfs(t))
	if got := s.run("cat /sys/class/tty/console/active"); got != "hvc0" {
		t.Errorf("the console is %q", got)
	}
	if err := unix.IoctlSetWinsize(int(s.program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 31, Col: 101}); err != nil {
		t.Fatal(err)
	}
	var size string
	for deadline := time.Now().Add(patience); !strings.Contains(size, "31") && time.Now().Before(deadline); {
		size = s.run("stty")
	}
	if !strings.Contains(size, "31") || !strings.Contains(size, "101") {
		t.Errorf("stty says %q", size)
	}
	s.powerOff()

	early := command(t, "boot", "-a", "quiet", "--console", "virtio", kernel, guesttest.Initramfs(t))
	early.Stdin = strings.NewReader("echo early-$((6*7))\npoweroff\n")
	r := finish(t, early)
	if r.status != 0 || !strings.Contains(r.stdout, "early-42") {
		t.Errorf("input that waits: %v", r)
	}
}
