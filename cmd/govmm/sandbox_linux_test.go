//go:build linuxtest

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/machine/guesttest"
	"govmm/sandbox"
)

// A callCounter counts the system calls that monitors make, by the kernel's own tracer (trace/histogram.rst): all of processes with a
// name that nothing else has.
type callCounter struct {
	t       *testing.T
	program string // this one by that name
	trigger string
	counts  map[string]int
}

const tracing = "/sys/kernel/tracing"

// newCallCounter needs root, and a kernel with CONFIG_HIST_TRIGGERS, which the test host is and has.
func newCallCounter(t *testing.T) *callCounter {
	t.Helper()
	if err := unix.Mount("tracefs", tracing, "tracefs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		t.Fatalf("tracefs: %v; run this in the test host: bin/nested", err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "counted")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	return &callCounter{t, link, `hist:keys=id:size=2048 if comm == "counted"`, map[string]int{}}
}

func (c *callCounter) file(name string) string {
	return filepath.Join(tracing, "events/raw_syscalls/sys_enter", name)
}

func (c *callCounter) set(trigger string) {
	c.t.Helper()
	if err := os.WriteFile(c.file("trigger"), []byte(trigger), 0); err != nil {
		c.t.Fatal(err)
	}
}

var counted = regexp.MustCompile(`\{ id: +(\d+) *\} hitcount: +(\d+)`)

// stop ends counting and adds what was counted.
func (c *callCounter) stop() {
	c.t.Helper()
	f, err := os.Open(c.file("hist"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if m := counted.FindStringSubmatch(s.Text()); m != nil {
			nr, _ := strconv.ParseUint(m[1], 10, 64)
			n, _ := strconv.Atoi(m[2])
			c.counts[sandbox.CallName(nr)] += n
		}
	}
	c.set("!" + c.trigger)
}

// start starts a session that is counted from the moment at which it is in its sandbox.
func (c *callCounter) start(args ...string) *session {
	c.t.Helper()
	s := &session{t: c.t, cmd: command(c.t, append([]string{"boot"}, args...)...)}
	s.cmd.Path = c.program
	s.begin()
	s.inSandbox()
	c.set(c.trigger)
	s.await(prompt)
	return s
}

// inSandbox waits until the monitor has a filter.
func (s *session) inSandbox() { s.t.Helper(); s.hasStatus("Seccomp:\t2\n") }

// inState waits until the monitor's first thread is in a state, as proc_pid_status(5) names it.
func (s *session) inState(letter string) { s.t.Helper(); s.hasStatus("State:\t" + letter) }

// hasStatus waits for a line of the monitor's status.
func (s *session) hasStatus(line string) {
	s.t.Helper()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
		if err != nil || strings.Contains(string(status), "\nState:\tZ") {
			s.fatalf("no monitor: %v", err)
		}
		if strings.Contains(string(status), "\n"+line) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestTinySandboxCalls has guests use all that there is, and holds that the monitor makes each system call that it is left, and so no more are left
// than are needed. That it makes no other holds the sandbox.
func TestTinySandboxCalls(t *testing.T) {
	c := newCallCounter(t)
	kernel, initramfs := guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t)
	image := ext4Image(t)
	bare := filepath.Join(t.TempDir(), "bare.img")
	if err := os.WriteFile(bare, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	port, sum := serveBytes(t, "127.0.0.1", 8<<20)
	listen := freePort(t)

	s := c.start("-m", "512M", "-c", "2", "--console", "virtio", "--balloon", "-d", image, "-d", bare,
		"-n", fmt.Sprintf("user,hostfwd=tcp:127.0.0.1:%d-:7000", listen), kernel, initramfs)
	s.run("dhclient -ipv6=false eth0")
	fetch(s, fmt.Sprintf("http://10.0.2.2:%d/", port), sum)
	answers(s, fmt.Sprintf("127.0.0.1:%d", listen))
	s.run("echo nameserver 10.0.2.3 >/etc/resolv.conf")
	s.try("wget -O /tmp/none http://nothing.invalid/") // asks for the name, by UDP
	s.run("dd if=/dev/zero of=/dev/vdb bs=1M count=16")
	s.run("mkdir -p /mnt && mount -t ext4 -o discard /dev/vda /mnt && dd if=/dev/zero of=/mnt/x bs=1M count=4 && sync && rm /mnt/x && sync && umount /mnt")
	for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGCONT} {
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		s.inState(map[unix.Signal]string{unix.SIGSTOP: "T", unix.SIGCONT: "S"}[sig])
	}
	s.powerOff()
	c.stop()

	s = c.start("-m", "512M", "-n", "tap", kernel, initramfs)
	s.run("dhclient -ipv6=false eth0")
	s.typeLine("poweroff")
	if status := s.end(); status != 0 {
		t.Errorf("exit status %d, standard error %q", status, s.stderr.String())
	}
	c.stop()

	policy := sandbox.Policy{Sockets: sandbox.NewSockets, Readable: []string{"/"}}
	for _, p := range sandbox.Permissions(policy) {
		t.Logf("%9d %-16s %s", c.counts[p.Name], p.Name, p.Why)
		if c.counts[p.Name] == 0 && !p.Rare {
			t.Errorf("%s (%s) is allowed, and was not made", p.Name, p.Why)
		}
		delete(c.counts, p.Name)
	}
	t.Logf("of others: %v", c.counts)
}
