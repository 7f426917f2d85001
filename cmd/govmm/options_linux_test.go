//go:build linuxtest

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/machine/guesttest"
)

// TestNetworks gives a guest three networks: two without privileges, each a network of its own, and a tap that its caller has opened.
func TestNetworks(t *testing.T) {
	tap := openTap(t, "tap8")
	tool(t, "ip", "addr", "add", "10.79.0.1/24", "dev", "tap8")
	tool(t, "ip", "link", "set", "tap8", "up")
	const mac = "02:00:00:00:00:09"
	s := startSessionWith(t, []*os.File{tap}, "-a", "quiet", "-m", "1G", "-c", "2",
		"-n", "user", "-n", "user,mtu=9000,mac="+mac, "-n", "fd=3", guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t))
	for _, iface := range []string{"eth0", "eth1"} {
		s.run("dhclient -ipv6=false " + iface)
		s.run("ping -c 2 10.0.2.2")
		s.run("ip link set " + iface + " down") // both have the same addresses
	}
	if got := s.run("cat /sys/class/net/eth1/address /sys/class/net/eth1/mtu"); strings.Join(strings.Fields(got), " ") != mac+" 9000" {
		t.Errorf("the second network's address and MTU are %q", got)
	}
	s.run("ip addr add 10.79.0.2/24 dev eth2")
	s.run("ip link set eth2 up")
	s.run("ping -c 2 10.79.0.1")
	answers(s, "10.79.0.2:7000")
	s.powerOff()
}

// openTap makes a tap, and gives the descriptor that a program gets which is to use it.
func openTap(t *testing.T, name string) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { file.Close() })
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDiskOptions has a disk past the host's page cache, which takes a file system that can, and one with a limit that its reads keep.
func TestDiskOptions(t *testing.T) {
	dir := t.TempDir()
	tool(t, "mount", "-o", "loop", ext4Image(t), dir)
	t.Cleanup(func() { tool(t, "umount", dir) })
	direct := filepath.Join(dir, "direct.img")
	tool(t, "/sbin/mke2fs", "-q", "-t", "ext4", direct, "32M")

	const rate, reads = 2 << 20, 5 // bytes a second, seconds' worth
	s := startSession(t, "-a", "quiet", "-d", direct+",cache=none", "-d", ext4Image(t)+",ro,rate=:2M",
		guesttest.Kernel(t, usualKernel), guesttest.Initramfs(t))
	sum := writeFile(s, "/dev/vda")
	s.run("mount -t ext4 /dev/vda /mnt")
	if got := guestSum(s, "/mnt/"+fileName); got != sum {
		t.Errorf("the file's sum is %s, was %s", got, sum)
	}
	s.run("umount /mnt")
	start := time.Now()
	s.run("dd if=/dev/vdb of=/dev/null bs=1M count=10")
	// A second's worth is there from the start.
	if took := time.Since(start); took < (reads-1)*time.Second {
		t.Errorf("%d bytes at %d a second took %v", reads*rate, rate, took)
	}
	if _, status := s.try("dd if=/dev/zero of=/dev/vdb bs=512 count=1"); status == "0" {
		t.Error("a disk that is read-only was written to")
	}
	s.powerOff()
}
