//go:build linuxtest

package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"

	"govmm/machine/guesttest"
)

// A victim is a guest that writes a pattern to two disks, one of them with a file system, and whose monitor is killed.
type victim struct {
	forwarding string // before all
	t          *testing.T
	r          *rand.Rand
	raw, ext4  *patternFile
	rawImage   string
	ext4Image  string
	tmp        string
	initrd     string
	port       int

	startTime time.Duration // from the start to the first block, in the first run

	checked int // blocks that were told to be stable, and looked at
	working int // kills of a guest that wrote
}

// mostLines is the most that guests say before they are killed.
const mostLines = 60

// TestTinyKill kills the monitor at random moments. What the guest was told is stable is on its disks, and nothing
// stays that the next start, with the same flags, would stumble over.
func TestTinyKill(t *testing.T) {
	kills := guesttest.Count(t, "GOVMM_TEST_KILLS", 8)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := fileSystem(t, 160<<20)
	v := &victim{
		t: t, r: rand.New(rand.NewPCG(seed, 0)), tmp: t.TempDir(), initrd: guesttest.PatternInitrd(t), port: freePort(t),
		raw: newPatternFile("/dev/vda"), ext4: newPatternFile("ext4=/dev/vdb"),
		rawImage: filepath.Join(dir, "raw.img"), ext4Image: filepath.Join(dir, "ext4.img"),
	}
	tool(t, "truncate", "-s", strconv.Itoa(patternBlocks*guesttest.PatternBlock), v.rawImage)
	tool(t, "/sbin/mke2fs", "-q", "-t", "ext4", v.ext4Image, "32M")
	v.forwarding = ipForwarding(t)
	for i := range kills {
		v.run(i)
		v.look()
		if t.Failed() {
			t.Fatalf("after kill %d", i+1)
		}
	}
	v.end(kills)
	guesttest.Figure(t, "kills", kills)
	guesttest.Figure(t, "kills-while-writing", v.working)
	guesttest.Figure(t, "kill-blocks-checked", v.checked)
	guesttest.Figure(t, "kill-blocks-lost", 0)
}

// start starts the guest of run i. What is alike in all runs is what could be left behind: disks, tap and port.
func (v *victim) start(i int) (*exec.Cmd, io.Reader) {
	v.t.Helper()
	first := i*firstStep + 1
	v.raw.begin(first)
	v.ext4.begin(first)
	words := fmt.Sprintf("quiet -- %d %d %s %s", first, patternBlocks, v.raw.name, v.ext4.name)
	cache := []string{"", ",cache=none"}[i%2]
	c := command(v.t, "boot", "-m", "64M", "-c", strconv.Itoa(1+i/2%2), "-a", words,
		"-d", v.rawImage+cache, "-d", v.ext4Image+cache, "-n", "tap", "-n", fmt.Sprintf("user,hostfwd=tcp:127.0.0.1:%d-:7000", v.port),
		guesttest.Kernel(v.t, "tiny"), v.initrd)
	c.Env = append(c.Env, "TMPDIR="+v.tmp)
	out, err := c.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	stderr := new(strings.Builder)
	c.Stderr = stderr
	if err := c.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		if v.t.Failed() {
			v.t.Logf("standard error of run %d: %s", i, stderr)
		}
	})
	return c, out
}

// run starts the guest and kills its monitor: at any moment of its start, or while it writes.
func (v *victim) run(i int) {
	v.t.Helper()
	c, out := v.start(i)
	lines, started := make(chan int, patternBlocks), time.Now()
	told := make(chan error)
	go func() { told <- v.listen(out, lines) }()
	if i%4 == 3 {
		time.Sleep(time.Duration(v.r.Int64N(int64(v.startTime))))
	} else {
		for range 1 + v.r.IntN(mostLines) {
			if _, ok := <-lines; !ok {
				v.t.Fatalf("the guest of run %d does not write", i)
			}
			if v.startTime == 0 {
				v.startTime = time.Since(started)
			}
		}
		v.working++
		time.Sleep(time.Duration(v.r.Int64N(int64(10 * time.Millisecond))))
	}
	if err := c.Process.Kill(); err != nil {
		v.t.Fatal(err)
	}
	if err := <-told; err != nil {
		v.t.Error(err)
	}
	_ = c.Wait()
	if status := c.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		v.t.Errorf("govmm ended by itself: %v", c.ProcessState)
	}
}

// listen keeps what the guest says is stable, until its console ends, and sends the numbers to lines as long as that has room.
func (v *victim) listen(out io.Reader, lines chan<- int) error {
	defer close(lines)
	s := bufio.NewReader(out)
	for {
		line, err := s.ReadString('\n')
		if err != nil {
			return nil // a line without an end may lack some of its number
		}
		said, ok := guesttest.ParsePatternLine(line)
		if !ok {
			continue
		}
		if !said.Stable {
			return fmt.Errorf("the guest says %q", line)
		}
		for _, f := range []*patternFile{v.raw, v.ext4} {
			if f.name == said.Disk {
				f.tell(said.Number)
			}
		}
		select {
		case lines <- said.Number:
		default:
		}
	}
}

// look compares the disks with what the guest said, and looks for what stayed.
func (v *victim) look() {
	v.t.Helper()
	v.checked += v.raw.check(v.t, v.rawImage)
	// The guest is to find its own file system as it was left.
	dir := v.t.TempDir()
	image, file := filepath.Join(dir, "ext4.img"), filepath.Join(dir, "file")
	tool(v.t, "cp", "--sparse=always", v.ext4Image, image)
	// Status 1 says that there was something to mend.
	tool(v.t, "sh", "-c", `/sbin/e2fsck -p "$1" || test $? = 1`, "sh", image)
	tool(v.t, "/sbin/e2fsck", "-fn", image)
	if len(v.ext4.told) > 0 {
		tool(v.t, "/sbin/debugfs", "-R", "dump /pattern "+file, image)
		v.checked += v.ext4.check(v.t, file)
	}
	if err := os.RemoveAll(dir); err != nil {
		v.t.Error(err)
	}
	v.lookAtNetwork()
	if left, err := os.ReadDir(v.tmp); err != nil || len(left) > 0 {
		v.t.Errorf("in TMPDIR are %v, %v", left, err)
	}
}

// end ends a last guest in order.
func (v *victim) end(i int) {
	v.t.Helper()
	c, out := v.start(i)
	lines := make(chan int, patternBlocks)
	go v.listen(out, lines)
	if _, ok := <-lines; !ok {
		v.t.Error("the last guest does not write")
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		v.t.Fatal(err)
	}
	for range lines {
	}
	if status := exitStatus(v.t, c.Wait()); status != 128+int(syscall.SIGTERM) {
		v.t.Errorf("exit status %d", status)
	}
	v.lookAtNetwork()
}

// lookAtNetwork holds that nothing of the tap is left: a process of its own has seen to that, and has ended with the monitor's standard error.
func (v *victim) lookAtNetwork() {
	v.t.Helper()
	checkNoTap(v.t)
	if got := ipForwarding(v.t); got != v.forwarding {
		v.t.Errorf("IP forwarding is %s and was %s", got, v.forwarding)
	}
	tables, err := new(nftables.Conn).ListTables()
	if err != nil {
		v.t.Fatal(err)
	}
	for _, table := range tables {
		if strings.HasPrefix(table.Name, "govmm") {
			v.t.Errorf("table %s is left", table.Name)
		}
	}
}

func checkNoTap(t *testing.T) {
	t.Helper()
	if left := tool(t, "ip", "-o", "link", "show", "type", "tun"); strings.TrimSpace(left) != "" {
		t.Errorf("a tap is left: %s", left)
	}
}

func ipForwarding(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// fileSystem mounts a new ext4 file system of its own: one that has direct I/O, and that can be full.
func fileSystem(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "host.img"), filepath.Join(dir, "host")
	tool(t, "/sbin/mke2fs", "-q", "-t", "ext4", "-m", "0", image, fmt.Sprintf("%dk", size>>10))
	tool(t, "mkdir", at)
	tool(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { tool(t, "umount", at) })
	return at
}
