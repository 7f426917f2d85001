package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a sandbox forbids can be tried only in a process that is lost afterwards: the test starts itself again, and the new process does one deed.
const deedVariable = "GOVMM_TEST_SANDBOX_DEED"

// withCgo is set where these tests are built with cgo.
var withCgo bool

func TestMain(m *testing.M) {
	if withCgo {
		fmt.Fprintln(os.Stderr, "a program with cgo has no sandbox; run these tests with CGO_ENABLED=0, as make test-unit does")
		os.Exit(1)
	}
	if name := os.Getenv(deedVariable); name != "" {
		os.Exit(perform(deeds[name]))
	}
	status := m.Run()
	os.RemoveAll(linkedDir)
	os.Exit(status)
}

// A deed is done inside a sandbox.
type deed struct {
	policy func() Policy // nil for the zero value
	before func()        // outside
	plain  bool          // there is no sandbox
	do     func() error
}

func perform(d deed) int {
	if err := FinishEntry(); err != nil && !d.plain {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	if d.before != nil {
		d.before()
	}
	p := Policy{Complaint: "forbidden: ", Ending: ".\n", Files: 100}
	if d.policy != nil {
		q := d.policy()
		p.Sockets, p.Readable, p.Links, p.Debugger = q.Sockets, q.Readable, q.Links, q.Debugger
	}
	if d.plain {
		return result(d.do())
	}
	missing, err := Apply(p)
	if linked == 0 { // as go test links it
		missing = slices.DeleteFunc(missing, func(l Layer) bool { return l.Name == "namespaces" })
	}
	if err != nil || len(missing) > 0 {
		fmt.Fprintln(os.Stderr, "sandbox:", missing, err)
		return 3
	}
	return result(d.do())
}

// result is the status of a deed.
func result(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "deed:", err)
		return 2
	}
	return 0
}

// run starts a process for a deed and gives its status and what it wrote to standard error.
func run(t *testing.T, name string) (int, string) {
	t.Helper()
	if _, ok := deeds[name]; !ok {
		t.Fatalf("there is no deed %q", name)
	}
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Env = append(os.Environ(), deedVariable+"="+name)
	c.Stderr = &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), stderr.String()
}

// elsewhere does f on a thread of its own, which was there before the sandbox.
func elsewhere(f func() error) (before func(), do func() error) {
	start, done := make(chan struct{}), make(chan error)
	return func() {
			ready := make(chan struct{})
			go func() {
				runtime.LockOSThread()
				close(ready)
				<-start
				done <- f()
			}()
			<-ready
		}, func() error {
			close(start)
			return <-done
		}
}

func open() error {
	_, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	return err
}

func socket(family, kind int) func() error {
	return func() error {
		_, err := unix.Socket(family, kind, 0)
		return err
	}
}

func readable() Policy { return Policy{Readable: []string{"/usr", "/nowhere"}} }

var parent = os.Getppid()

var deeds = func() map[string]deed {
	otherOpen, doOtherOpen := elsewhere(open)
	return map[string]deed{
		"nothing": {do: func() error { return nil }},
		"live":    {do: live},
		"wait":    {do: func() error { fmt.Fprintln(os.Stderr, "ready"); time.Sleep(time.Hour); return nil }},

		"openat":                   {do: open},
		"openat on another thread": {before: otherOpen, do: doOtherOpen},
		"execve":                   {do: func() error { return unix.Exec("/bin/true", nil, nil) }},
		"kill":                     {do: func() error { return unix.Kill(parent, 0) }},
		"tgkill":                   {do: func() error { return unix.Tgkill(parent, parent, 0) }},
		"ptrace":                   {do: func() error { return unix.PtraceAttach(parent) }},
		"unshare":                  {do: func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
		"ioctl":                    {do: func() error { _, err := unix.IoctlGetInt(0, unix.TIOCSTI); return err }},
		"prctl":                    {do: func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }},
		"sched_setattr":            {do: func() error { return unix.SchedSetAttr(parent, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0) }},
		"sched_getattr":            {do: func() error { _, err := unix.SchedGetAttr(parent, 0); return err }},
		"rt_sigaction": {do: func() error {
			_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSYS), 0, 0, 8, 0, 0)
			return e
		}},
		"socket": {do: socket(unix.AF_INET, unix.SOCK_STREAM)},
		"mmap": {do: func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			return err
		}},
		"mprotect": {do: func() error {
			b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err != nil {
				return err
			}
			return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
		}},
		"with an unknown number": {do: func() error { _, _, e := unix.RawSyscall(1000, 0, 0, 0); return e }},

		"open sockets: socket":          {policy: func() Policy { return Policy{Sockets: OpenSockets} }, do: socket(unix.AF_INET, unix.SOCK_STREAM)},
		"new sockets":                   {policy: func() Policy { return Policy{Sockets: NewSockets} }, before: listenFirst, do: connect},
		"new sockets: socket":           {policy: func() Policy { return Policy{Sockets: NewSockets} }, do: socket(unix.AF_UNIX, unix.SOCK_STREAM)},
		"debugger":                      {policy: debugger, before: knockFirst, do: letIn},
		"debugger: socket":              {policy: debugger, do: socket(unix.AF_INET, unix.SOCK_STREAM)},
		"debugger: setsockopt":          {policy: debugger, do: func() error { return unix.SetsockoptInt(0, unix.IPPROTO_IP, unix.IP_TTL, 1) }},
		"debugger: connect":             {policy: debugger, do: func() error { return unix.Connect(0, &unix.SockaddrInet4{Port: 1}) }},
		"readable":                      {policy: readable, do: func() error { _, err := os.ReadDir("/usr"); return opposite(err) }},
		"readable: a file below":        {policy: readable, do: func() error { return readSome("/usr/bin/env") }},
		"readable: another":             {policy: readable, do: func() error { return opposite(open()) }},
		"readable: another, elsewhere":  elsewhereReadable(),
		"readable: openat, O_PATH":      {policy: readable, do: func() error { _, err := unix.Open("/etc/passwd", unix.O_PATH, 0); return err }},
		"readable: openat, for writing": {policy: readable, do: func() error { _, err := unix.Open("/usr/x", unix.O_WRONLY, 0); return err }},
	}
}()

func elsewhereReadable() deed {
	before, do := elsewhere(func() error { return opposite(open()) })
	return deed{policy: readable, before: before, do: do}
}

// opposite takes a refusal for success.
func opposite(err error) error {
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	return fmt.Errorf("not refused: %v", err)
}

func readSome(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // as package resolvconf does
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.ReadFull(f, make([]byte, 10))
	return err
}

var listener net.Listener

// listenFirst makes a listener outside of the sandbox: package net asks for the kernel's version then.
func listenFirst() {
	var err error
	if listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		panic(err)
	}
}

func debugger() Policy { return Policy{Debugger: true} }

// knockFirst makes a listener outside of the sandbox, and a connection to it that nobody has taken yet.
func knockFirst() {
	listenFirst()
	c, err := net.Dial("tcp4", listener.Addr().String())
	if err == nil {
		_, err = io.WriteString(c, "hello")
	}
	if err != nil {
		panic(err)
	}
}

// letIn takes a connection and hears what it has to say.
func letIn() error {
	c, err := listener.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); string(b) != "hello" {
		return fmt.Errorf("%q, %v", b, err)
	}
	_, err = io.WriteString(c, "come in")
	return err
}

// connect sends something from one socket to another.
func connect() error {
	l := listener
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	if b, err := io.ReadAll(c); string(b) != "hello" {
		return fmt.Errorf("%q, %v", b, err)
	}
	return nil
}

// live does what Go programs do: threads, memory, timers, signals, pipes.
func live() error {
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			runtime.LockOSThread() // the thread ends with the goroutine
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			time.Sleep(time.Millisecond)
		})
	}
	wg.Wait()
	runtime.GC()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil { // until the runtime preempts it
	}
	return nil
}

// TestAllowed holds that a process can go on.
func TestAllowed(t *testing.T) {
	for _, name := range []string{"nothing", "live", "new sockets", "debugger", "readable", "readable: a file below", "readable: another", "readable: another, elsewhere"} {
		if status, stderr := run(t, name); status != 0 {
			t.Errorf("%s: status %d, %s", name, status, stderr)
		}
	}
}

// TestForbidden holds that what is not on the list ends the process, on any of its threads, with a message that names it.
func TestForbidden(t *testing.T) {
	for name := range deeds {
		before, call, ok := strings.Cut(name, ": ")
		if !ok {
			call = before
		}
		call, _, _ = strings.Cut(call, " on ")
		call, _, _ = strings.Cut(call, ",")
		if !regexp.MustCompile(`^(openat|execve|kill|tgkill|ptrace|unshare|ioctl|prctl|sched_[gs]etattr|rt_sigaction|socket|setsockopt|connect|mmap|mprotect|with an unknown number)$`).MatchString(call) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			status, stderr := run(t, name)
			if want := "forbidden: " + call + ".\n"; status != ViolationStatus || stderr != want {
				t.Errorf("status %d, %q; want %d, %q", status, stderr, ViolationStatus, want)
			}
		})
	}
}

// TestState looks at the process from outside: each of its threads is in the sandbox, and its limits are set.
func TestState(t *testing.T) {
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Env = append(os.Environ(), deedVariable+"=wait")
	startWaiting(t, c)
	dir := fmt.Sprintf("/proc/%d", c.Process.Pid)
	for _, status := range threads(t, dir) {
		matchAll(t, status, `NoNewPrivs:\s1\n`, `Seccomp:\s2\n`, `CapPrm:\s0+\n`, `CapEff:\s0+\n`, `CapInh:\s0+\n`, `CapAmb:\s0+\n`)
	}
	limits, err := os.ReadFile(dir + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	matchAll(t, limits, `Max core file size\s+0\s+0\s`, `Max open files\s+100\s+100\s`, `Max locked memory\s+0\s+0\s`, `Max msgqueue size\s+0\s+0\s`)
	if root, err := os.Readlink(dir + "/root"); os.Geteuid() == 0 && !strings.HasSuffix(root, "/fdinfo") {
		t.Errorf("the root directory is %s, %v", root, err)
	}
}

// startWaiting starts a process that is in the sandbox when this returns, and waits there until the test ends.
func startWaiting(t *testing.T, c *exec.Cmd) {
	t.Helper()
	r, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Signal(syscall.SIGKILL); _ = c.Wait() })
	if text, err := io.ReadAll(io.LimitReader(r, int64(len("ready\n")))); string(text) != "ready\n" {
		rest, _ := io.ReadAll(r)
		t.Fatalf("%v: %s%s", err, text, rest)
	}
}

// threads gives the status of each thread of a process, given its directory in /proc, but for those that have just ended.
func threads(t *testing.T, dir string) (statuses [][]byte) {
	t.Helper()
	paths, err := filepath.Glob(dir + "/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		status, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, status)
	}
	if len(statuses) < 2 {
		t.Fatalf("%d threads", len(statuses))
	}
	return statuses
}

func matchAll(t *testing.T, text []byte, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).Match(text) {
			t.Errorf("no %s in\n%s", p, text)
		}
	}
}

// TestPermissions holds the lists to what they promise: no call twice, each with a reason and a name, and none that makes processes or files.
func TestPermissions(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Permissions(Policy{Sockets: NewSockets, Debugger: true, Readable: []string{"/"}}) {
		if seen[p.Name] || p.Name == "" || p.Why == "" {
			t.Errorf("%q: %q, there already: %v", p.Name, p.Why, seen[p.Name])
		}
		seen[p.Name] = true
	}
	for _, name := range []string{"execve", "execveat", "fork", "vfork", "clone3", "kill", "ptrace", "mprotect", "open", "openat2", "unlink", "rename", "mount", "bpf", "io_uring_setup", "process_vm_writev"} {
		if seen[name] {
			t.Errorf("%s is allowed", name)
		}
	}
	if few, all := len(Permissions(Policy{})), len(seen); few >= all || all >= 77 {
		t.Errorf("%d calls, and %d with everything", few, all)
	}
}

// TestDocumented holds the documentation to the numbers of system calls.
func TestDocumented(t *testing.T) {
	few := len(Permissions(Policy{}))
	all := len(Permissions(Policy{Sockets: NewSockets, Readable: []string{"/"}}))
	debugged := len(Permissions(Policy{Debugger: true}))
	for path, want := range map[string]string{
		"../docs/threat-model.md": fmt.Sprintf("There are %d without `--net user` and %d with it, and %d more with `--gdb`", few, all, debugged-few),
		"../README.md":            fmt.Sprintf("%d system calls are left", few),
	} {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %q (%v)", path, want, err)
		}
	}
}
