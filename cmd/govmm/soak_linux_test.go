//go:build linuxtest

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"govmm/machine/guesttest"
)

const (
	soakMemory  = 112 << 20
	soakFile    = 4 << 20 // bytes of a round
	soakRounds  = 6       // at least
	soakWarmUp  = 2       // rounds, or a tenth of the time, after which buffers, threads and descriptors are there
	memoryDrift = 4 << 20 // what the heap may differ by between two collections
)

// TestTinySoakLoad has one guest write and read its disk and fetch from the network again and again. All data are right, and
// the monitor holds at the end what it held at the beginning.
func TestTinySoakLoad(t *testing.T) {
	seconds := guesttest.Count(t, "GOVMM_TEST_SOAK_SECONDS", 10)
	port, sum := serveBytes(t, "127.0.0.1", soakFile)
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, make([]byte, 4*soakFile), 0o644); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("dhclient -ipv6=false eth0; while true; do wget -O /tmp/file http://10.0.2.2:%d/; "+
		"dd if=/tmp/file of=/dev/vda bs=65536; sync; rm /tmp/file; dd if=/dev/vda of=/tmp/back bs=65536 count=%d; shasum -a 256 /tmp/back; done",
		port, soakFile/65536)
	c := commandWithin(t, time.Duration(seconds)*time.Second+runTime*2, "boot", "-m", fmt.Sprint(soakMemory>>20, "M"), "-c", "2", "--balloon",
		"-d", image, "-n", "user", "-a", "quiet -- "+script, guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var first, last holding
	rounds := 0
	for s := bufio.NewScanner(out); s.Scan(); {
		got, isSum := strings.CutSuffix(strings.TrimSpace(s.Text()), "/tmp/back")
		if !isSum {
			continue
		}
		if strings.TrimSpace(got) != sum {
			t.Errorf("round %d: sum %s, want %s", rounds, got, sum)
		}
		rounds++
		last = holdingOf(t, c.Process.Pid, soakMemory)
		if rounds <= soakWarmUp || time.Since(began) < time.Duration(seconds)*time.Second/10 {
			first = first.most(last)
		}
		if rounds >= soakRounds && time.Since(began) >= time.Duration(seconds)*time.Second {
			break
		}
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, out)
	if status := exitStatus(t, c.Wait()); status != 128+int(syscall.SIGTERM) || rounds < soakRounds {
		t.Errorf("exit status %d after %d rounds: %s", status, rounds, stderr.String())
	}
	if last.files > first.files || last.threads > first.threads+2 || last.memory > first.memory+memoryDrift {
		t.Errorf("the monitor held %+v at first, and %+v after %d rounds", first, last, rounds)
	}
	guesttest.Figure(t, "soak-seconds", int(time.Since(began).Seconds()))
	guesttest.Figure(t, "soak-rounds", rounds)
	guesttest.Figure(t, "soak-mib", rounds*soakFile*3>>20)
	guesttest.Figure(t, "soak-memory-first-kib", first.memory>>10)
	guesttest.Figure(t, "soak-memory-last-kib", last.memory>>10)
	guesttest.Figure(t, "soak-files-first", first.files)
	guesttest.Figure(t, "soak-files-last", last.files)
	guesttest.Figure(t, "soak-threads-first", first.threads)
	guesttest.Figure(t, "soak-threads-last", last.threads)
}

// TestTinyManyGuests has many guests up at the same time.
func TestTinyManyGuests(t *testing.T) {
	guests := guesttest.Count(t, "GOVMM_TEST_GUESTS", 8)
	initrd := filepath.Join(t.TempDir(), "initrd")
	if err := guesttest.WriteSmallInitrd(initrd, guesttest.Await); err != nil {
		t.Fatal(err)
	}
	type guest struct {
		typed io.WriteCloser
		end   func() error
	}
	var up []guest
	for range guests {
		c := commandWithin(t, runTime*4, "boot", "-m", "48M", "-a", "quiet", guesttest.Kernel(t, "tiny"), initrd)
		typed, err1 := c.StdinPipe()
		out, err2 := c.StdoutPipe()
		c.Stderr = os.Stderr
		if err1 != nil || err2 != nil || c.Start() != nil {
			t.Fatal("no guest can be started", err1, err2)
		}
		up = append(up, guest{typed, func() error {
			_, _ = io.Copy(io.Discard, out)
			return c.Wait()
		}})
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || strings.TrimSpace(line) != strings.TrimSpace(guesttest.InitLine) {
			t.Fatalf("guest %d says %q, %v", len(up), line, err)
		}
	}
	for i, g := range up {
		if _, err := io.WriteString(g.typed, "\n"); err != nil {
			t.Errorf("guest %d has ended: %v", i+1, err)
		}
		if status := exitStatus(t, g.end()); status != 0 {
			t.Errorf("guest %d: exit status %d", i+1, status)
		}
	}
	guesttest.Figure(t, "guests-at-once", guests)
}
