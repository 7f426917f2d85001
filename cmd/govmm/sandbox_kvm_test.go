//go:build kvmtest

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/sandbox"
)

// startSpinning starts a guest that says something and computes from then on. c is the command but for the guest's file. What it
// writes to standard error comes into the buffer.
func startSpinning(t *testing.T, c *exec.Cmd) *bytes.Buffer {
	t.Helper()
	c.Args = append(c.Args, writeGuest(t, guestSpin))
	stderr := new(bytes.Buffer)
	c.Stderr = stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return stderr
}

// stopSpinning ends it.
func stopSpinning(t *testing.T, c *exec.Cmd) {
	t.Helper()
	_ = c.Process.Signal(syscall.SIGTERM)
	if status := exitStatus(t, c.Wait()); status != 128+int(syscall.SIGTERM) {
		t.Errorf("exit status %d, standard error %q", status, c.Stderr)
	}
}

// TestStrayDescriptors holds that the monitor closes what its caller has left open, also where it cannot ask which these are.
func TestStrayDescriptors(t *testing.T) {
	for _, a := range []arrangement{"", noProc} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := arranged(t, a, "boot")
		c.ExtraFiles = []*os.File{w}
		startSpinning(t, c)
		w.Close()
		must(t, r.SetReadDeadline(time.Now().Add(time.Minute))) // the guest runs on
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: %d, %v", a, n, err)
		}
		stopSpinning(t, c)
		r.Close()
	}
}

// TestSandboxFlag looks at the monitor of a guest that runs, and that root has started.
func TestSandboxFlag(t *testing.T) {
	const all, none = `\nCapPrm:\t0+\nCapEff:\t0+\n(.*\n)*NoNewPrivs:\t1\nSeccomp:\t2\n`, `\nCapEff:\t0*[1-9a-f][0-9a-f]*\n(.*\n)*NoNewPrivs:\t0\nSeccomp:\t0\n`
	const notAsked = "govmm: the sandbox is weaker than it could be: no namespaces (an argument is --sandbox=off); leave it out\n"
	for _, test := range []struct {
		flags        string
		status, root string
		namespaces   bool
		say          string
	}{
		{"--sandbox=on", all, `/fdinfo$`, true, ""},
		{"--sandbox on", all, `/fdinfo$`, true, ""},
		{"--sandbox=strict", all, `/fdinfo$`, true, ""},
		{"--sandbox=off", none, `^/$`, false, ""},
		{"-m 64M --sandbox off -c 1", none, `^/$`, false, ""},
		{"--sandbox=off --sandbox=on", all, `/fdinfo$`, false, notAsked}, // as are programs that were not linked for it
		{"--append --sandbox=offline", all, `/fdinfo$`, true, ""},
		{"--append sandbox=off --sandbox=on --", all, `/fdinfo$`, true, ""},
	} {
		c := command(t, append([]string{"boot"}, strings.Fields(test.flags)...)...)
		stderr := startSpinning(t, c)
		dir := fmt.Sprintf("/proc/%d/", c.Process.Pid)
		status, err := os.ReadFile(dir + "status")
		if err != nil || !regexp.MustCompile(test.status).Match(status) {
			t.Errorf("%s: %v, %s", test.flags, err, status)
		}
		if root, err := os.Readlink(dir + "root"); err != nil || !regexp.MustCompile(test.root).MatchString(root) {
			t.Errorf("%s: the root directory is %s, %v", test.flags, root, err)
		}
		was, err1 := os.Readlink("/proc/self/ns/mnt")
		is, err2 := os.Readlink(dir + "ns/mnt")
		if err := errors.Join(err1, err2); err != nil || (was != is) != test.namespaces {
			t.Errorf("%s: the mount namespace is %s, and this test's is %s, %v", test.flags, is, was, err)
		}
		stopSpinning(t, c)
		if got, want := stderr.String(), test.say+"govmm: ended by terminated\n"; got != want {
			t.Errorf("%s: standard error %q, want %q", test.flags, got, want)
		}
	}
}

// TestFlagsBeforeTheCommand holds that a command that the entry does not find is not taken for one of another kind.
func TestFlagsBeforeTheCommand(t *testing.T) {
	for flag, want := range map[string]int{"--sandbox=on": 0, "--sandbox=strict": 1} {
		r := finish(t, command(t, flag, "boot", writeGuest(t, guestPowerOff)))
		if r.status != want {
			t.Errorf("%s: %v", flag, r)
		}
		checkOneLine(t, r.stderr, "no namespaces (the first argument is not the command); put flags behind boot or run")
	}
}

// TestSandboxLacks is a host that lacks a part: it is said, in one line, and strict refuses to start.
func TestSandboxLacks(t *testing.T) {
	for _, test := range []struct {
		arrange     arrangement
		say, inList string
	}{
		{noLandlock, "no landlock (not in this kernel); a host kernel of Linux 5.13 or later", `landlock +absent +not in this kernel`},
		{noSeccomp, "no seccomp (not in this kernel); a host kernel with CONFIG_SECCOMP_FILTER", `seccomp +absent +not in this kernel`},
		{noChroot, "no root directory (chroot to /proc/self/fdinfo: operation not permitted); let the container", `root directory +absent +chroot to .*: operation not permitted`},
		{noCapability, "no root directory (there are privileges, but not CAP_SYS_CHROOT); let the container", `root directory +absent +there are privileges, but not CAP_SYS_CHROOT`},
		{noUnshare, "no namespaces (unshare: operation not permitted); let the container, service or chroot that this runs in use unshare", `namespaces +absent +unshare: operation not permitted`},
		{noProc, "no root directory (there is no /proc/self/fdinfo); mount /proc", `root directory +absent +there is no .*`},
	} {
		t.Run(string(test.arrange), func(t *testing.T) {
			for flag, want := range map[string]int{"--sandbox=on": 0, "--sandbox=strict": 1, "--sandbox=off": 0} {
				r := finish(t, arranged(t, test.arrange, "boot", flag, writeGuest(t, guestPowerOff)))
				switch {
				case r.status != want, flag == "--sandbox=off" && r.stderr != "":
					t.Errorf("%s: %v", flag, r)
				case flag != "--sandbox=off":
					checkOneLine(t, r.stderr, test.say)
				}
			}
			if r := finish(t, arranged(t, test.arrange, "check")); !regexp.MustCompile(`(?m)^sandbox: ` + test.inList + `$`).MatchString(r.stdout) {
				t.Errorf("check: %v", r)
			}
		})
	}
}

// TestViolation has the monitor of a guest that runs make a system call that it never makes by itself, as one that the guest has
// broken into would.
func TestViolation(t *testing.T) {
	c := command(t, "boot")
	stderr := startSpinning(t, c)
	makeCall(t, c.Process.Pid, syscall.SYS_GETPPID)
	if status := exitStatus(t, c.Wait()); status != sandbox.ViolationStatus {
		t.Errorf("exit status %d", status)
	}
	checkOneLine(t, stderr.String(), "the sandbox ended this virtual machine: the monitor made the system call getppid, which it never does by itself; if it was not the guest that made it do so, --sandbox=off helps")
}

// makeCall has a thread of a process that waits in a system call make another one in its place.
func makeCall(t *testing.T, pid int, nr uint64) {
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil && divert(t, tid, nr) {
			return
		}
	}
	t.Fatal("no thread waits in a system call")
}

// divert tells whether the thread was in a system call.
func divert(t *testing.T, tid int, nr uint64) bool {
	t.Helper()
	must(t, unix.PtraceSeize(tid))
	defer unix.PtraceDetach(tid)
	must(t, unix.PtraceInterrupt(tid))
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if uint32(status)>>16 == unix.PTRACE_EVENT_STOP {
			break
		}
		must(t, unix.PtraceCont(tid, int(status.StopSignal()))) // one of the runtime's signals
	}
	var regs unix.PtraceRegs
	must(t, unix.PtraceGetRegs(tid, &regs))
	if int64(regs.Orig_rax) < 0 {
		return false
	}
	const syscallLength = 2 // of the instruction 0f 05, which the thread is behind
	regs.Rip, regs.Rax, regs.Orig_rax = regs.Rip-syscallLength, nr, ^uint64(0)
	must(t, unix.PtraceSetRegs(tid, &regs))
	return true
}
