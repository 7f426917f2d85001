//go:build linuxtest

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmm/machine/guesttest"
)

// forAll lets everybody open a device, as udev does where there is one.
func forAll(t *testing.T, path string) {
	t.Helper()
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(path, was.Mode()) })
}

// TestTinyWithoutRoot has a user who may open /dev/kvm, and owns a tap, run a guest with a disk and that tap: no privilege is needed, also for the
// sandbox, which is complete.
func TestTinyWithoutRoot(t *testing.T) {
	const nobody = 65534
	forAll(t, "/dev/kvm")
	forAll(t, "/dev/net/tun")
	tool(t, "ip", "tuntap", "add", "dev", "tap9", "mode", "tap", "user", fmt.Sprint(nobody))
	t.Cleanup(func() { tool(t, "ip", "link", "del", "tap9") })
	tool(t, "ip", "addr", "add", "10.79.0.1/24", "dev", "tap9")
	tool(t, "ip", "link", "set", "tap9", "up")

	// The user's own files.
	home, err := os.MkdirTemp("/tmp", "govmm-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	own := func(name string, data []byte) string {
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	kernel, initrd := own("kernel", read(guesttest.Kernel(t, "tiny"))), own("initrd", read(guesttest.Initramfs(t)))
	disk := own("disk", make([]byte, 1<<20))
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}

	s := &session{t: t, cmd: command(t, "boot", "--sandbox=strict", "-a", "quiet", "-d", disk, "-n", "tap=tap9", kernel, initrd)}
	s.cmd.Env = append(s.cmd.Env, envArrange+"="+string(asNobody), "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "cache"))
	s.begin()
	s.await(prompt)
	if status := string(read(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))); !strings.Contains(status, fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", nobody)) {
		t.Errorf("the monitor is not the user's:\n%s", status)
	}
	s.run("ip addr add 10.79.0.2/24 dev eth0")
	s.run("ip link set eth0 up")
	s.run("ping -c 3 10.79.0.1")
	s.run("echo written >/dev/vda")
	s.powerOff()
	if got := read(disk); !strings.HasPrefix(string(got), "written\n") {
		t.Errorf("the image begins with %q", got[:20])
	}
	if s.stderr.Len() > 0 {
		t.Errorf("standard error %q", s.stderr.String())
	}
}
