//go:build linuxtest

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// anyUser is one without privileges.
const anyUser = 1000

// A home is a directory of a user's, with what boots.
type home struct {
	t              *testing.T
	dir            string
	kernel, initrd string
}

func newHome(t *testing.T) *home {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "govmm-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, anyUser, anyUser); err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, dir: dir}
	h.kernel, h.initrd = h.file("kernel", contents(t, guesttest.Kernel(t, "tiny"))), h.file("initrd", contents(t, guesttest.Initramfs(t)))
	return h
}

// file makes a file of the user's own.
func (h *home) file(name string, data []byte) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := errors.Join(os.WriteFile(path, data, 0o600), os.Chown(path, anyUser, anyUser)); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// boot starts the user's guest, with a sandbox that lacks nothing, and waits for its shell.
func (h *home) boot(flags ...string) *session {
	h.t.Helper()
	forAll(h.t, "/dev/kvm")
	s := &session{t: h.t, cmd: command(h.t, append(append([]string{"boot", "--sandbox=strict", "-a", "quiet"}, flags...), h.kernel, h.initrd)...)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anyUser, Gid: anyUser}}
	s.cmd.Env = append(s.cmd.Env, "HOME="+h.dir, "XDG_CACHE_HOME="+filepath.Join(h.dir, "cache"))
	s.begin()
	s.await(prompt)
	return s
}

// TestTinyRunOwners has a user without privileges run a command in a directory with files of others, whom his user namespace does not show: the guest does. What the command
// has for arguments does not change the sandbox.
func TestTinyRunOwners(t *testing.T) {
	h := newHome(t)
	forAll(t, "/dev/kvm")
	root := filepath.Join(h.dir, "root")
	owners := map[string][2]int{"own": {anyUser, anyUser}, "root": {0, 0}, "group": {anyUser, 7}, "nobody": {65534, 65534}, "far": {1 << 30, 1<<31 + 5}, "link": {3, 4}, "dir": {5, 6}}
	if err := errors.Join(os.MkdirAll(root+"/dir", 0o755), os.WriteFile(root+"/busybox", contents(t, "/bin/busybox"), 0o755), os.Symlink("nowhere", root+"/link")); err != nil {
		t.Fatal(err)
	}
	var want []string
	for name, o := range owners {
		path := filepath.Join(root, name)
		if name != "link" && name != "dir" {
			must(t, os.WriteFile(path, []byte("x"), 0o644))
		}
		must(t, os.Lchown(path, o[0], o[1]))
		want = append(want, fmt.Sprintf("%s %d:%d\n", name, o[0], o[1]))
	}
	c := command(t, "run", "--sandbox=strict", "--kernel", h.kernel, "--rootfs", root, "/busybox", "sh", "-c", "/busybox stat -c '%n %u:%g' *", "--sandbox=off")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anyUser, Gid: anyUser}}
	c.Env = append(c.Env, "HOME="+h.dir, "XDG_CACHE_HOME="+filepath.Join(h.dir, "cache"))
	r := finish(t, c)
	if r.status != 0 || r.stderr != "" {
		t.Errorf("%v", r)
	}
	for _, line := range want {
		if !strings.Contains("\n"+r.stdout, "\n"+line) {
			t.Errorf("no %q in %q", line, r.stdout)
		}
	}
}

// TestTinyWithoutRoot has a user who may open /dev/kvm, and owns a tap, run a guest with a disk and that tap: no privilege is needed, also for the
// sandbox, which is complete, with namespaces and an empty root directory.
func TestTinyWithoutRoot(t *testing.T) {
	h := newHome(t)
	forAll(t, "/dev/net/tun")
	tool(t, "ip", "tuntap", "add", "dev", "tap9", "mode", "tap", "user", fmt.Sprint(anyUser))
	t.Cleanup(func() { tool(t, "ip", "link", "del", "tap9") })
	tool(t, "ip", "addr", "add", "10.79.0.1/24", "dev", "tap9")
	tool(t, "ip", "link", "set", "tap9", "up")
	disk := h.file("disk", make([]byte, 1<<20))

	s := h.boot("-d", disk, "-n", "tap=tap9")
	monitor := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	if status := string(contents(t, monitor+"status")); !strings.Contains(status, fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", anyUser)) {
		t.Errorf("the monitor is not the user's:\n%s", status)
	}
	for _, name := range []string{"user", "mnt"} {
		was, err1 := os.Readlink("/proc/self/ns/" + name)
		is, err2 := os.Readlink(monitor + "ns/" + name)
		if err := errors.Join(err1, err2); err != nil || was == is {
			t.Errorf("the monitor's %s namespace is this test's: %s (%v)", name, is, err)
		}
	}
	if root, err := os.Readlink(monitor + "root"); !strings.HasSuffix(root, "/fdinfo") {
		t.Errorf("its root directory is %s, %v", root, err)
	}
	s.run("ip addr add 10.79.0.2/24 dev eth0")
	s.run("ip link set eth0 up")
	s.run("ping -c 3 10.79.0.1")
	s.run("echo written >/dev/vda")
	s.powerOff()
	if got := contents(t, disk); !strings.HasPrefix(string(got), "written\n") {
		t.Errorf("the image begins with %q", got[:20])
	}
	if s.stderr.Len() > 0 {
		t.Errorf("standard error %q", s.stderr.String())
	}
}
