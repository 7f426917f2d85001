//go:build linuxtest

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/machine/guesttest"
)

// TestTinyFaults has one guest live through what happens to its host: the image of its disk, its tap, the monitor's time and the clock.
// Each fault ends with the guest at work.
func TestTinyFaults(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, make([]byte, 8<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	s := startSession(t, "-a", "quiet", "-m", "256M", "-c", "2", "-d", image+",rate=:1G", "-n", "user", "-n", "tap",
		guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t))
	s.run("dhclient -ipv6=false eth0")
	faultImage(s, image)
	faultTap(s)
	faultStopped(s)
	faultClock(s)
	s.run("dd if=/dev/vda of=/dev/null bs=64K")
	s.run("ping -c 2 10.0.2.2")
	s.typeLine("poweroff")
	if status := s.end(); status != 0 {
		t.Errorf("exit status %d, standard error %q", status, s.stderr.String())
	}
	for line := range strings.Lines(s.stderr.String()) {
		t.Log("the monitor said:", strings.TrimSpace(line))
	}
	if got := s.stderr.String(); !strings.Contains(got, "disk request failed") || strings.Count(got, "\n") > 8 {
		t.Errorf("standard error: %s", got)
	}
	checkNoTap(t)
}

// faultImage cuts the image short, makes it longer, and replaces it.
func faultImage(s *session, image string) {
	s.t.Helper()
	disk := func(command string) (status string) {
		_, status = s.try(command)
		return status
	}
	const first, second = "dd if=/dev/vda of=/dev/null bs=65536 count=64", "dd if=/dev/vda of=/dev/null bs=65536 skip=64"
	must(s.t, os.Truncate(image, 4<<20))
	if disk(first) != "0" || disk(second) == "0" {
		s.fatalf("of a disk whose image was cut in the middle, the first half must be read and the second not")
	}
	// What is written beyond the end makes the image longer again.
	s.run("dd if=/dev/urandom of=/dev/vda bs=65536 seek=127 count=1")
	s.run("sync")
	if disk(second) != "0" {
		s.fatalf("the disk is not read that was written to its end")
	}
	must(s.t, os.Truncate(image, 16<<20))
	if got := guestInfo(s)["block.vda"]; got != fmt.Sprint(8<<20) {
		s.t.Errorf("a disk of 8 MiB has %s bytes when its image has grown", got)
	}
	// The guest keeps the image that it has.
	other := image + ".new"
	must(s.t, os.WriteFile(other, bytes.Repeat([]byte("new "), 1<<10), 0o644))
	must(s.t, os.Rename(other, image))
	s.run("dd if=/dev/urandom of=/dev/vda bs=65536 count=2")
	s.run("sync")
	s.run(first)
	if got, err := os.ReadFile(image); err != nil || len(got) != 4<<10 || !bytes.HasPrefix(got, []byte("new new ")) {
		s.t.Errorf("the file in place of the image has %d bytes, %v", len(got), err)
	}
	guesttest.Figure(s.t, "fault-image", "passed")
}

// faultTap takes the tap away, under the second card, while it is in use.
func faultTap(s *session) {
	s.t.Helper()
	s.run("ip addr add 10.213.0.2/30 dev eth1")
	s.run("ip link set eth1 up")
	s.run("ping -c 1 10.213.0.1")
	s.try("{ ping -c 1000 -i 0.01 10.213.0.1 >/dev/null 2>&1 & }")
	tool(s.t, "ip", "link", "del", "govmm0")
	if _, status := s.try("ping -c 1 -W 1 10.213.0.1"); status == "0" {
		s.t.Error("the host answers over a tap that is gone")
	}
	s.run("ping -c 2 10.0.2.2")
	guesttest.Figure(s.t, "fault-tap", "passed")
}

// faultStopped stops the monitor for a while, with the guest at work.
func faultStopped(s *session) {
	s.t.Helper()
	seconds := guesttest.Count(s.t, "GOVMM_TEST_STOP_SECONDS", 3)
	s.try("{ ping -c 1000 -i 0.01 10.0.2.2 >/dev/null 2>&1 & }")
	must(s.t, s.cmd.Process.Signal(syscall.SIGSTOP))
	s.typeLine("echo typed-$((6*7))")
	time.Sleep(time.Duration(seconds) * time.Second)
	must(s.t, s.cmd.Process.Signal(syscall.SIGCONT))
	s.await(regexp.MustCompile(`typed-42\r?\n# `))
	s.run("ping -c 2 10.0.2.2")
	guesttest.Figure(s.t, "stopped-seconds", seconds)
}

// faultClock sets the host's clock back by an hour, and to where it was again.
func faultClock(s *session) {
	s.t.Helper()
	if os.Getenv("GOVMM_NESTED") == "" {
		s.t.Fatal("this test sets the clock; run it in the nested test host: nested --always")
	}
	setBack := func(by time.Duration) {
		now := unix.NsecToTimeval(time.Now().Add(-by).UnixNano())
		must(s.t, unix.Settimeofday(&now))
	}
	setBack(time.Hour)
	defer setBack(-time.Hour)
	s.run("sleep 1")
	s.run("dd if=/dev/vda of=/dev/null bs=64K")
	s.run("ping -c 2 10.0.2.2")
	s.run("dhclient -ipv6=false eth0")
	guesttest.Figure(s.t, "fault-clock", "passed")
}

// TestTinyFaultFull has a sparse image on a file system that is full. The guest is told of each write that fails, and when there is room again they work.
func TestTinyFaultFull(t *testing.T) {
	dir := fileSystem(t, 16<<20)
	image, filler := filepath.Join(dir, "disk.img"), filepath.Join(dir, "filler")
	tool(t, "truncate", "-s", "64M", image)
	fill(t, filler)
	c := command(t, "boot", "-m", "64M", "-d", image, "-a", fmt.Sprintf("quiet -- 1 %d /dev/vda", patternBlocks),
		guesttest.Kernel(t, "tiny"), guesttest.PatternInitrd(t))
	out, err := c.StdoutPipe()
	must(t, err)
	stderr := new(strings.Builder)
	c.Stderr = stderr
	must(t, c.Start())
	failed, stable := 0, 0
	for s := bufio.NewScanner(out); s.Scan() && stable < 20; {
		switch words := strings.Fields(s.Text()); {
		case len(words) > 0 && words[0] == "failed":
			if failed++; failed == 20 {
				must(t, os.Remove(filler))
			}
		case len(words) > 0 && words[0] == "stable":
			stable++
		}
	}
	must(t, c.Process.Signal(syscall.SIGTERM))
	io.Copy(io.Discard, out)
	_ = c.Wait()
	if failed < 20 || stable < 20 {
		t.Errorf("%d writes failed, %d worked: %s", failed, stable, stderr)
	}
	if got := stderr.String(); !strings.Contains(got, "no space left on device") || strings.Count(got, "disk request failed") >= failed {
		t.Errorf("%d writes failed; standard error: %s", failed, got)
	}
	guesttest.Figure(t, "full-writes-failed", failed)
}

// fill writes a file as large as there is room for.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	must(t, f.Sync())
}

// TestTinyFaultCache boots with a kernel cache and a TMPDIR that are full.
func TestTinyFaultCache(t *testing.T) {
	dir := fileSystem(t, 8<<20)
	fill(t, filepath.Join(dir, "filler"))
	c := command(t, "boot", "-m", "64M", "-a", "quiet", guesttest.Kernel(t, "tiny"), guesttest.SmallInitrd(t))
	c.Env = append(c.Env, "XDG_CACHE_HOME="+dir, "TMPDIR="+dir)
	r := finish(t, c)
	if r.status != 0 || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "will have to be unpacked again") {
		t.Error(r)
	}
	guesttest.Figure(t, "fault-cache", "passed")
}

// TestTinyFaultConsole has nobody read the console. The guest waits, and the monitor does not grow; when somebody reads, the guest
// goes on; when nobody does again, the guest goes on after a minute, and the monitor can still be ended.
func TestTinyFaultConsole(t *testing.T) {
	const pipeSize = 4096
	initrd := guesttest.PatternInitrd(t)
	for _, console := range []string{"serial", "virtio"} {
		r, w, err := os.Pipe()
		must(t, err)
		_, err = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeSize)
		must(t, err)
		c := command(t, "boot", "-m", "64M", "--console", console, "-a", "quiet -- 1 1 /dev/null", // which says more than any disk
			guesttest.Kernel(t, "tiny"), initrd)
		c.Stdout = w
		says, err := c.StderrPipe()
		must(t, err)
		must(t, c.Start())
		w.Close()
		awaitFull(t, r, pipeSize)
		before := holdingOf(t, c.Process.Pid, 64<<20)
		time.Sleep(time.Second)
		if after := holdingOf(t, c.Process.Pid, 64<<20); after.memory > before.memory+memoryDrift {
			t.Errorf("%s: the monitor held %+v, and holds %+v", console, before, after)
		}
		if _, err := io.ReadFull(r, make([]byte, pipeSize+pipeSize/4)); err != nil {
			t.Errorf("%s: the guest does not go on: %v", console, err)
		}
		awaitFull(t, r, pipeSize)
		goesOnUnread(t, r, bufio.NewScanner(says), pipeSize, map[string]int{"serial": 1000, "virtio": 1}[console]) // the latter's driver has more to do than to write
		must(t, c.Process.Signal(syscall.SIGTERM))
		if status := exitStatus(t, c.Wait()); status != 128+int(syscall.SIGTERM) {
			t.Errorf("%s: exit status %d", console, status)
		}
		r.Close()
	}
	guesttest.Figure(t, "fault-console", "passed")
}

// goesOnUnread waits for as long as the guest waits for a reader, and holds that it goes on then, without what nobody has read.
func goesOnUnread(t *testing.T, r *os.File, says *bufio.Scanner, size, least int) {
	t.Helper()
	hear := func(pattern string) []string {
		says.Scan()
		found := regexp.MustCompile(pattern).FindStringSubmatch(says.Text())
		if found == nil {
			t.Fatalf("the monitor says %q, %v; want %s", says.Text(), says.Err(), pattern)
		}
		return found
	}
	hear("^govmm: console output: nobody has read for 1m0s; what the guest writes is dropped until somebody does$")
	time.Sleep(2 * time.Second)
	_, err := io.ReadFull(r, make([]byte, size+size/4))
	must(t, err)
	dropped := hear("^govmm: console output: ([0-9]+) bytes were dropped, because nobody read$")
	if n, err := strconv.Atoi(dropped[1]); err != nil || n < least {
		t.Errorf("%d bytes were dropped, %v", n, err)
	}
	awaitFull(t, r, size)
}

// awaitFull waits until a pipe of that size is full, or has no room for the console's next bytes.
func awaitFull(t *testing.T, r *os.File, size int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		must(t, err)
		if n > size-64 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guest says only %d bytes", n)
		}
	}
}

// TestTinyFaultMemory lets the monitor have less memory than its guest uses. The kernel kills it, and nothing stays.
func TestTinyFaultMemory(t *testing.T) {
	const root = "/sys/fs/cgroup"
	group := filepath.Join(root, "govmm-test")
	must(t, os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0))
	must(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() { must(t, os.Remove(group)) })
	must(t, os.WriteFile(filepath.Join(group, "memory.max"), []byte(strconv.Itoa(16<<20)), 0))
	dir, err := os.Open(group)
	must(t, err)
	defer dir.Close()
	boot := func() *exec.Cmd {
		return command(t, "boot", "-m", "256M", "-n", "tap", "-a", "quiet", guesttest.Kernel(t, "tiny"), guesttest.SmallInitrd(t))
	}
	c := boot()
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	_ = c.Run()
	if status := c.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("govmm ended as %v", c.ProcessState)
	}
	checkNoTap(t)
	if r := finish(t, boot()); r.status != 0 {
		t.Error(r)
	}
	checkNoTap(t)
	guesttest.Figure(t, "fault-memory", "passed")
}
