//go:build linuxtest

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"govmm/machine/guesttest"
)

// debugInformation is the tiny kernel's vmlinux with symbols and debugging information.
func debugInformation(t *testing.T) string {
	t.Helper()
	file := filepath.Join(os.Getenv(guesttest.EnvKernels), "tiny/debug/vmlinux")
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%v; make kernel builds it", err)
	}
	return file
}

// A gdbRun is Debian's gdb, with the symbols of the kernel.
type gdbRun struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.Writer
	shown  *screen
	number int
}

// startGDB starts a gdb that is attached to the guest at a socket.
func startGDB(t *testing.T, socket string) *gdbRun {
	t.Helper()
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		t.Fatalf("%v; install it with: make setup", err)
	}
	vmlinux := debugInformation(t)
	ctx, cancel := context.WithTimeout(t.Context(), runTime)
	t.Cleanup(cancel)
	g := &gdbRun{t: t, cmd: exec.CommandContext(ctx, gdb, "-nx", "-q", "-ex", "set pagination off", "-ex", "set confirm off", "-ex", "set width 0", vmlinux)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g.cmd.Stdout, g.cmd.Stderr = w, w
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	g.shown = showScreen(r)
	t.Cleanup(func() { _ = g.cmd.Process.Kill(); _ = g.cmd.Wait() })
	g.do("target remote " + socket)
	return g
}

// do has gdb carry out a command and gives what it says.
func (g *gdbRun) do(command string) string {
	g.t.Helper()
	g.number++
	mark := fmt.Sprintf("done-%d", g.number)
	fmt.Fprintf(g.in, "%s\necho \\n%s\\n\n", command, mark)
	text, ok := g.shown.await(regexp.MustCompile(`\n` + mark + `\n`))
	if !ok {
		g.t.Fatalf("gdb does not come back from %q: %s", command, tail(g.shown.all()))
	}
	text = strings.TrimSpace(strings.TrimSuffix(text, mark+"\n"))
	g.t.Logf("%s: %s", command, text)
	return text
}

// want holds that what gdb says of a command matches a pattern.
func (g *gdbRun) want(command, pattern string) string {
	g.t.Helper()
	got := g.do(command)
	if !regexp.MustCompile(pattern).MatchString(got) {
		g.t.Fatalf("%s: %q, want %s", command, got, pattern)
	}
	return got
}

// TestTinyGDB debugs the tiny kernel from its first instruction to its shell.
func TestTinyGDB(t *testing.T) {
	for _, cpus := range []int{1, 2} {
		t.Run(strconv.Itoa(cpus), func(t *testing.T) { debugKernelToShell(t, cpus) })
	}
}

func debugKernelToShell(t *testing.T, cpus int) {
	socket := filepath.Join(t.TempDir(), "gdb")
	s := &session{t: t, cmd: command(t, "boot", "-a", "quiet", "-c", strconv.Itoa(cpus), "--gdb", "unix:"+socket, "--gdb-wait",
		guesttest.Kernel(t, "tiny"), guesttest.Initramfs(t))}
	s.begin()
	s.inSandbox()
	g := startGDB(t, socket)
	g.want("info threads", `vCPU 0`)
	g.want("monitor kernel", `mapped where it was linked`)

	// Before the kernel has page tables.
	g.do("tbreak start_kernel")
	g.want("continue", `Temporary breakpoint 1, .*start_kernel \(\)`)
	g.want("backtrace", `(?s)#0 .*start_kernel .*#1 .*x86_64_start_reservations`)
	g.want("info locals", `command_line = `)
	g.want("next", `\d+\t`)
	g.want("step", `\d+\t|\w+ \(.*\) at `)
	g.want("stepi", `0x|\d+\t`)
	g.want("info registers cr0 efer gs_base", `cr0 +0x8005003[13]`)

	// A variable that is written once, and another that is read by its address.
	g.do("delete")
	g.do("watch system_state")
	g.want("continue", `(?s)Hardware watchpoint 2: system_state.*Old value = SYSTEM_BOOTING.*New value = SYSTEM_SCHEDULING`)
	g.do("delete")

	g.do("hbreak kernel_init_freeable")
	g.want("continue", `Breakpoint 3, .*kernel_init_freeable`)
	g.want("finish", `Run till exit`)
	g.do("delete")
	g.do("tbreak do_sys_openat2")
	g.want("continue", `breakpoint 4, .*do_sys_openat2 \(dfd=-?\d+, filename=0x`)
	g.want("print *how", `flags = \d+`)
	if threads := g.do("info threads"); strings.Count(threads, "vCPU ") != cpus || strings.Contains(threads, "not started") {
		t.Errorf("the threads are %s", threads)
	}
	// It vanishes with a breakpoint set that each program of the guest's comes to.
	g.do("break do_sys_openat2")
	fmt.Fprintln(g.in, "continue")
	time.Sleep(100 * time.Millisecond)
	_ = g.cmd.Process.Kill()
	s.await(prompt)
	if got := s.run("echo hello-$((6*7))"); got != "hello-42" {
		t.Errorf("the shell answers %q", got)
	}

	// Another comes while the guest runs.
	g = startGDB(t, socket)
	g.want("print init_uts_ns.name.sysname", `"Linux`)
	g.want("print linux_banner", `Linux version`)
	g.want("thread "+strconv.Itoa(cpus), `Switching to thread`)
	g.want("print system_state", `SYSTEM_RUNNING`)
	g.want("detach", `detached`)
	s.run("true")
	s.typeLine("poweroff")
	if status := s.end(); status != 0 || !bytes.Contains(s.stderr.Bytes(), []byte("listening for gdb")) {
		t.Errorf("exit status %d, standard error %q", status, s.stderr.String())
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}
