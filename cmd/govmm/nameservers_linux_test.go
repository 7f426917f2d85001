//go:build linuxtest

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"govmm/devices/virtio/netif/resolvconf"
	"govmm/machine/guesttest"
)

// TestTinyFaultNameServers replaces the file with the host's name servers underneath monitors that have a root directory with little more than that file: root's, and
// that of a user without privileges. The guests' questions go to the new server.
func TestTinyFaultNameServers(t *testing.T) {
	run, err := os.MkdirTemp("/run", "govmm-names-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	if err := os.Chmod(run, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobodyThere = "127.0.0.9"
	file := filepath.Join(run, "resolv.conf")
	setNameServer(t, file, nobodyThere)
	linkResolvConf(t, file)
	asked := answerNames(t, "127.0.0.1:53")

	h := newHome(t)
	for name, start := range map[string]func() *session{
		"root": func() *session {
			return startSession(t, "--sandbox=strict", "-a", "quiet", "-n", "user", guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t))
		},
		"another": func() *session { return h.boot("-n", "user") },
	} {
		t.Run(name, func(t *testing.T) {
			setNameServer(t, file, nobodyThere)
			s := start()
			if root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", s.cmd.Process.Pid)); root != "/" {
				t.Errorf("the root directory of the namespace is %s, %v", root, err)
			}
			if seen, err := os.ReadDir(fmt.Sprintf("/proc/%d/root/", s.cmd.Process.Pid)); len(seen) != 2 {
				t.Errorf("it has %v, %v; want etc and run", seen, err)
			}
			s.run("dhclient -ipv6=false eth0")
			s.run("echo nameserver 10.0.2.3 >/etc/resolv.conf")
			s.try("wget -O /tmp/none http://first." + name + ".invalid/")
			setNameServer(t, file, "127.0.0.1")
			time.Sleep(3 * time.Second) // it is looked at every two
			s.try("wget -O /tmp/none http://second." + name + ".invalid/")
			s.powerOff()
			if got := asked(); strings.Contains(got, "first") || !strings.Contains(got, "second") {
				t.Errorf("the server was asked %q", got)
			}
		})
	}
}

// setNameServer replaces the file as resolvconf(8) and systemd-resolved do.
func setNameServer(t *testing.T, file, address string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(file+".new", []byte("nameserver "+address+"\n"), 0o644), os.Rename(file+".new", file)); err != nil {
		t.Fatal(err)
	}
}

// linkResolvConf has the host's file be a link to another, until the test ends.
func linkResolvConf(t *testing.T, file string) {
	t.Helper()
	const old = resolvconf.Path + ".old"
	if err := os.Rename(resolvconf.Path, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.Symlink(file, resolvconf.Path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(resolvconf.Path); _ = os.Rename(old, resolvconf.Path) })
}

// answerNames is a name server that knows no name. What it returns gives what was asked since.
func answerNames(t *testing.T, address string) (asked func() string) {
	t.Helper()
	c, err := net.ListenPacket("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	questions := make(chan string, 1000)
	go func() {
		p := make([]byte, 512)
		for {
			n, addr, err := c.ReadFrom(p)
			if err != nil || n < 12 { // shorter than a header
				return
			}
			questions <- string(p[12:n])
			p[2], p[3] = p[2]|0x80, p[3]&0xf0|3 // a response, with NXDOMAIN (RFC 1035, section 4.1.1)
			_, _ = c.WriteTo(p[:n], addr)
		}
	}()
	return func() string {
		var all []string
		for len(questions) > 0 {
			all = append(all, <-questions)
		}
		return strings.Join(all, " ")
	}
}
