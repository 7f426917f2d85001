//go:build nestedtest

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

	"golang.org/x/sys/unix"
)

// nested returns the program, always with an emulated machine.
func nested(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, append([]string{"--always"}, args...)...)
	cmd.Env = append(os.Environ(), asNested+"=1")
	return cmd
}

// output runs the program and returns its standard output and exit status.
func output(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Logf("standard error: %s", &stderr)
	}
	return stdout.String(), exitStatus(cmd.ProcessState)
}

// TestKVM runs itself on the machine, where it looks at /dev/kvm.
func TestKVM(t *testing.T) {
	const inside = "NESTED_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		testRealKVM(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, status := output(t, nested(t, "--env", inside+"=1", "--", self, "-test.run=^TestKVM$", "-test.v"))
	if status != 0 || !strings.Contains(out, "--- PASS: TestKVM") {
		t.Errorf("status %d, output:\n%s", status, out)
	}
}

func testRealKVM(t *testing.T) {
	if err := virtualization(); err != nil {
		t.Fatal(err)
	}
	npt, err := os.ReadFile("/sys/module/kvm_amd/parameters/npt")
	if err != nil || strings.TrimSpace(string(npt)) != "Y" && strings.TrimSpace(string(npt)) != "1" {
		t.Errorf("nested paging: %q, %v", npt, err)
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer kvm.Close()
	// Linux Documentation/virt/kvm/api.rst, 4.1 and 4.2.
	const getAPIVersion, createVM = 0xae00, 0xae01
	if v, err := unix.IoctlRetInt(int(kvm.Fd()), getAPIVersion); v != 12 || err != nil {
		t.Errorf("KVM_GET_API_VERSION: %d, %v", v, err)
	}
	vm, err := unix.IoctlRetInt(int(kvm.Fd()), createVM)
	if err != nil {
		t.Fatalf("KVM_CREATE_VM: %v", err)
	}
	if err := unix.Close(vm); err != nil {
		t.Error(err)
	}
}

func TestStreamsAndStatus(t *testing.T) {
	data := make([]byte, 10_000_000)
	src := rand.NewChaCha8([32]byte{})
	if _, err := src.Read(data); err != nil {
		t.Fatal(err)
	}
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	var stderr bytes.Buffer
	// Input to output and to error, both whole.
	cmd := nested(t, "--", "sh", "-c", "tee /dev/stderr; exit 200")
	cmd.Stdin = bytes.NewReader(data)
	cmd.Stderr = &stderr
	stdout, status := output(t, cmd)
	if status != 200 {
		t.Errorf("status %d, want 200", status)
	}
	if sum([]byte(stdout)) != sum(data) || sum(stderr.Bytes()) != sum(data) {
		t.Errorf("%d bytes in, %d and %d out, or changed", len(data), len(stdout), stderr.Len())
	}
}

func TestSurroundings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a, b")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(t.TempDir(), "lost")
	const script = `set -e
		test "$(pwd)" = "$1"; test "$X" = "y z"; test "$GOVMM_NESTED" = 1
		test -c /dev/net/tun; test -c /dev/vhost-net; test -c /dev/ptmx; test -d /dev/shm
		grep -q up /sys/class/net/lo/operstate || grep -q unknown /sys/class/net/lo/operstate
		echo kept > kept; echo lost > "$2"; test -s "$2"
		test "$(nproc)" = 3; echo ok`
	cmd := nested(t, "--cpus", "3", "--share", dir, "--dir", dir, "--env", "X=y z", "--", "sh", "-c", script, "sh", dir, lost)
	if out, status := output(t, cmd); out != "ok\n" || status != 0 {
		t.Fatalf("status %d, %q", status, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "kept")); string(got) != "kept\n" || err != nil {
		t.Errorf("in the shared directory: %q, %v", got, err)
	}
	if _, err := os.Stat(lost); !os.IsNotExist(err) {
		t.Errorf("a file outside of it reached the host: %v", err)
	}
}

func TestStatuses(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"not found", []string{"--", "/nonexistent"}, statusNotFound},
		{"killed", []string{"--", "sh", "-c", "kill -9 $$"}, 137},
		{"no directory", []string{"--dir", "/nonexistent", "--", "true"}, statusFailure},
		{"timeout", []string{"--timeout", "1s", "--", "sleep", "1000"}, statusTimeout},
		{"panic", []string{"--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 1000"}, statusFailure},
		{"left behind", []string{"--", "sh", "-c", "sleep 1000 & exit 5"}, 5},
		{"input not read", []string{"--", "true"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := nested(t, test.args...)
			cmd.Stdin = io.LimitReader(zeros{}, 1<<20)
			if _, status := output(t, cmd); status != test.want {
				t.Errorf("status %d, want %d", status, test.want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// start starts the program with a command that says that it runs, and waits for that.
func start(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	cmd := nested(t, "--", "sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestSignalReachesCommand(t *testing.T) {
	cmd := start(t, "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := exitStatus(cmd.ProcessState); got != 9 {
		t.Errorf("status %d, want 9", got)
	}
}

func TestSecondSignalEnds(t *testing.T) {
	cmd := start(t, "trap '' INT; echo ready; while :; do sleep 0.1; done")
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the same signal twice at once is one
	}
	_ = cmd.Wait()
	if got := exitStatus(cmd.ProcessState); got != 130 {
		t.Errorf("status %d, want 130", got)
	}
}

func TestKilledLeavesNothing(t *testing.T) {
	cmd := start(t, "echo ready; sleep 1000")
	qemu := children(t, cmd.Process.Pid)
	if len(qemu) != 1 {
		t.Fatalf("child processes %v, want QEMU", qemu)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for range 100 {
		if unix.Kill(qemu[0], 0) == unix.ESRCH {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("QEMU (%d) is still there", qemu[0])
}

// children returns the process ids of the children of a process.
func children(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc(5): pid (comm) state ppid
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, id)
		}
	}
	return found
}

// Work of the same number of instructions takes the same virtual time, on
// whatever machine and however busy that is. The loop starts no program, which
// would be read from the host's files, and waiting for these is not repeatable.
func TestVirtualTime(t *testing.T) {
	const script = `
		for round in 1 2; do
			read a x < /proc/uptime
			i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
			read b x < /proc/uptime
		done
		echo $a $b`
	var times []float64
	for range 2 {
		out, status := output(t, nested(t, "--virtual-time", "--", "sh", "-c", script))
		var a, b float64
		if _, err := fmt.Sscan(out, &a, &b); err != nil || status != 0 {
			t.Fatalf("status %d, %q: %v", status, out, err)
		}
		times = append(times, b-a)
	}
	t.Logf("virtual times %.2f s", times)
	// The clock has steps of 10 ms.
	if diff := times[0] - times[1]; times[0] < 0.05 || diff < -0.025 || diff > 0.025 {
		t.Errorf("the same loop took %.2f s and %.2f s", times[0], times[1])
	}
}
