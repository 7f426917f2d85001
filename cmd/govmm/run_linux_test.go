//go:build linuxtest

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/agent"
	"govmm/bootimage/initramfs"
	"govmm/machine/guesttest"
)

// userlandDir unpacks the guests' userland into a directory.
func userlandDir(t *testing.T) string {
	t.Helper()
	archive, err := os.Open(guesttest.Initramfs(t))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	dir := t.TempDir()
	for r := initramfs.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := unpack(filepath.Join(dir, h.Name), h, r); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
}

func unpack(path string, h *initramfs.Header, r io.Reader) error {
	switch h.Mode.Type() {
	case fs.ModeDir:
		return os.MkdirAll(path, 0o755)
	case fs.ModeSymlink:
		return os.Symlink(h.Linkname, path)
	case 0:
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.Mode.Perm())
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(f, r)
		return err
	}
	return nil
}

// runArgs gives the arguments of a govmm run of a command with the tiny kernel.
func runArgs(t *testing.T, rootfs string, args ...string) []string {
	t.Helper()
	return append([]string{"run", "--kernel", guesttest.Kernel(t, "tiny"), "--rootfs", rootfs}, args...)
}

// TestTinyRun runs commands in a guest, and looks at all that comes back.
func TestTinyRun(t *testing.T) {
	dir := userlandDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("ann:x:1000:100::/home/ann:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "run.json")
	for _, tt := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"--", "/bin/sh", "-c", "echo 'a  b'; uname -n; echo err >&2; exit 7"}, 7, "a  b\ngovmm\n", "err\n"},
		{[]string{"-e", "A=b c", "-w", "/tmp/x", "/bin/sh", "-c", "echo $A; pwd; id -u"}, 0, "b c\n/tmp/x\n0\n", ""},
		{[]string{"-u", "ann", "/bin/sh", "-c", "id -u; id -g; echo $HOME"}, 0, "1000\n100\n/home/ann\n", ""},
		{[]string{"-u", "ann", "/bin/sh", "-c", "echo own >/proc/self/fd/1; echo own >/proc/self/fd/2"}, 0, "own\n", "own\n"},
		{[]string{"no-such-command"}, 127, "", "govmm: exec: \"no-such-command\": executable file not found in $PATH\n"},
		{[]string{"/etc/passwd"}, 126, "", "govmm: exec: \"/etc/passwd\": permission denied\n"},
		{[]string{"-u", "eve", "true"}, 126, "", "govmm: user \"eve\" is not in the guest's /etc/passwd\n"},
		{[]string{"/bin/sh", "-c", "kill -9 $$"}, 137, "", ""},
		{[]string{"cat"}, 0, "", ""}, // the end of standard input is the command's too
		{[]string{"--trace", trace, "/bin/sh", "-c", "exit 3"}, 3, "", ""},
		{[]string{"--timeout", "5s", "sleep", "100"}, 124, "", "govmm: the time limit has passed (--timeout 5s)\n"},
	} {
		c := command(t, runArgs(t, dir, tt.args...)...)
		if r := finish(t, c); r.status != tt.status || r.stdout != tt.stdout || r.stderr != tt.stderr {
			t.Errorf("%q: want %d, %q, %q: %v", tt.args, tt.status, tt.stdout, tt.stderr, r)
		}
	}
	if s, err := summarize(trace); err != nil || rowOf(s.Doorbells, "virtio1 console").Count == 0 {
		t.Errorf("trace: %v, %+v", err, s)
	}
}

// TestTinyRunEnds has the end of a command be the end, whatever else there is.
func TestTinyRunEnds(t *testing.T) {
	dir := userlandDir(t)
	// A child of the command's writes on, without end.
	c := command(t, runArgs(t, dir, "/bin/sh", "-c", "echo begun; yes & sleep 1; exit 3")...)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c.Stdout = out
	if status := exitStatus(t, c.Run()); status != 3 {
		t.Errorf("with a child that writes on: exit status %d", status)
	}
	// The output cannot be written: the status must not hide it.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var stderr bytes.Buffer
	c = command(t, runArgs(t, dir, "echo", "lost")...)
	c.Stdout, c.Stderr = full, &stderr
	if status := exitStatus(t, c.Run()); status != statusRun || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("with a full disk: exit status %d, %s", status, stderr.String())
	}
	// The input of a terminal ends within a line.
	c = command(t, runArgs(t, dir, "--terminal", "yes", "cat")...)
	c.Stdin = strings.NewReader("abc")
	if r := finish(t, c); r.status != 0 || !strings.HasSuffix(r.stdout, "abcabc") {
		t.Errorf("with an unfinished line: %v", r)
	}
}

// TestTinyRunPipe passes bytes of all values through a guest, more than any buffer between holds.
func TestTinyRunPipe(t *testing.T) {
	data := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{2}).Read(data)
	c := command(t, runArgs(t, userlandDir(t), "cat")...)
	c.Stdin = bytes.NewReader(data)
	if r := finish(t, c); r.status != 0 || r.stderr != "" || r.stdout != string(data) {
		t.Errorf("status %d, standard error %q, %d bytes of %d", r.status, r.stderr, len(r.stdout), len(data))
	}
}

// TestTinyRunSignal sends govmm a signal, which is the command's.
func TestTinyRunSignal(t *testing.T) {
	c := command(t, runArgs(t, userlandDir(t), "/bin/sh", "-c", "echo begun; sleep 1000")...)
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("begun\n"))); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := exitStatus(t, c.Wait()); status != 143 {
		t.Errorf("exit status %d", status)
	}
}

// TestTinyRunUnread has nobody read the output of a command that writes without end: the guest idles, and the command still hears a signal.
func TestTinyRunUnread(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	must(t, err)
	c := command(t, runArgs(t, userlandDir(t), "yes")...)
	c.Stdout = w
	must(t, c.Start())
	w.Close()
	awaitFull(t, r, size/2) // how much is full depends on the pieces
	const watched = time.Second
	idles := false
	for deadline := time.Now().Add(patience); !idles && time.Now().Before(deadline); {
		before := processorTime(t, c.Process.Pid)
		time.Sleep(watched)
		idles = processorTime(t, c.Process.Pid)-before < watched/2
	}
	if !idles {
		t.Error("the guest waits with its processor at work")
	}
	must(t, c.Process.Signal(syscall.SIGTERM))
	time.Sleep(time.Second) // the command is gone before its output is taken, of which there is an end then
	n, err := io.Copy(io.Discard, r)
	must(t, err)
	if status := exitStatus(t, c.Wait()); status != 128+int(syscall.SIGTERM) || n > int64(size)+2*agent.OutputWindow {
		t.Errorf("exit status %d, %d bytes of output", status, n)
	}
}

// TestTinyRunLateReader has a command end, and its guest with it, before anybody reads what it has written: all of it comes.
func TestTinyRunLateReader(t *testing.T) {
	const size = 300_000 // more than pipes hold, and no more than the guest may send
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	c := command(t, runArgs(t, userlandDir(t), "/bin/sh", "-c", fmt.Sprintf("dd if=/dev/zero bs=1000 count=%d; exit 4", size/1000))...)
	c.Stdout = w
	must(t, c.Start())
	w.Close()
	awaitFull(t, r, 1<<15)
	time.Sleep(5 * time.Second) // for the guest's end, which is not waited for
	n, err := io.Copy(io.Discard, r)
	must(t, err)
	if status := exitStatus(t, c.Wait()); status != 4 || n != size {
		t.Errorf("exit status %d, %d bytes of %d", status, n, size)
	}
}

// processorTime is what a process has used, guests' time included.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(t, err)
	var all time.Duration
	for _, task := range tasks {
		if text, err := os.ReadFile(task); err == nil { // the thread may have ended
			ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			must(t, err)
			all += time.Duration(ns)
		}
	}
	return all
}

// TestTinyRunTerminal has a shell on a terminal, as a person does.
func TestTinyRunTerminal(t *testing.T) {
	s := &session{t: t, cmd: command(t, runArgs(t, userlandDir(t), "/bin/sh")...)}
	s.begin()
	if err := unix.IoctlSetWinsize(int(s.program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 31, Col: 97}); err != nil {
		t.Fatal(err)
	}
	s.await(regexp.MustCompile(`[#$] `))
	s.typeLine("stty")
	s.await(regexp.MustCompile(`rows:31 cols:97`))
	s.typeLine("exit 5")
	if status := s.end(); status != 5 || s.stderr.Len() > 0 {
		t.Errorf("exit status %d, standard error %q", status, s.stderr.String())
	}
}

// TestTinyRunNetwork fetches from the host, without DHCP in the guest.
func TestTinyRunNetwork(t *testing.T) {
	port, sum := serveFile(t, "127.0.0.1")
	script := fmt.Sprintf("wget -O /tmp/file http://10.0.2.2:%d/ && shasum -a 256 /tmp/file", port)
	r := finish(t, command(t, runArgs(t, userlandDir(t), "-m", "1G", "--net", "user", "/bin/sh", "-c", script)...))
	if r.status != 0 || !strings.Contains(r.stdout, sum) {
		t.Errorf("want %s: %v", sum, r)
	}
}

// TestTinyRunDisk has a command write to a disk, which is a file of the host.
func TestTinyRunDisk(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	r := finish(t, command(t, runArgs(t, userlandDir(t), "-d", image, "/bin/sh", "-c", "echo written > /dev/vda; sync")...))
	if got, err := os.ReadFile(image); err != nil || r.status != 0 || !bytes.HasPrefix(got, []byte("written\n")) || len(got) != 1<<20 {
		t.Errorf("the disk has %d bytes, error %v: %v", len(got), err, r)
	}
}
