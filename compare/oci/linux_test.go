//go:build linuxtest

package oci

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunc(t *testing.T) { real(t, "runc") }
func TestCrun(t *testing.T) { real(t, "crun") }

// real runs a runtime that is installed, as root.
func real(t *testing.T, name string) {
	r, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	version, err := r.Version(t.Context())
	if err != nil || !strings.HasPrefix(version, name+" version ") {
		t.Fatalf("version %q: %v", version, err)
	}
	b := &bench{runtime: r, root: busybox(t)}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{{"hello", hello}, {"status", status}, {"template", template}, {"inside", inside}, {"running", running}, {"multiplying", multiplying}, {"killed", killed}} {
		t.Run(test.name, func(t *testing.T) {
			before := look(t)
			test.run(t, b)
			before.same(t)
		})
	}
}

type bench struct {
	runtime *Runtime
	root    string
}

// busybox makes a root file system.
func busybox(t *testing.T) string {
	t.Helper()
	const program = "/bin/busybox"
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatalf("%v: apt-get install busybox-static", err)
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, program), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "sleep", "echo", "true", "cat"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// shell makes a container in which sh runs a script.
func (b *bench) shell(t *testing.T, script string) (c *Container, dir string) {
	t.Helper()
	dir = t.TempDir()
	c, err := b.runtime.New(dir, Config{Root: b.root, ReadOnly: true, Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func hello(t *testing.T, b *bench) {
	for range 3 {
		c, dir := b.shell(t, "true")
		began := time.Now()
		if out, err := c.Command(t.Context()).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%q: %v", out, err)
		}
		t.Logf("true took %v", time.Since(began).Round(time.Millisecond))
		remove(t, c, dir)
	}
	c, dir := b.shell(t, "echo hello")
	if out, err := c.Command(t.Context()).CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("%q: %v", out, err)
	}
	remove(t, c, dir)
}

func status(t *testing.T, b *bench) {
	c, dir := b.shell(t, "exit 42")
	err := c.Command(t.Context()).Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 42 {
		t.Errorf("%v, want 42", err)
	}
	remove(t, c, dir)
}

// template has a runtime that can only be killed.
func template(t *testing.T, b *bench) {
	r, err := FromTemplate(b.runtime.Name() + " --root state run -b {bundle} {id}")
	if err != nil {
		t.Fatal(err)
	}
	b = &bench{runtime: r, root: b.root}
	c, dir := b.shell(t, "echo begun; exec sleep 1000")
	cmd := begin(t, c)
	removeRunning(t, c, dir, cmd)
}

// inside has the processes in the container be those that were started there.
func inside(t *testing.T, b *bench) {
	c, dir := b.shell(t, "sleep 1000 & echo begun; exec sleep 1001")
	cmd := begin(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	want := []string{"sleep\x001000\x00", "sleep\x001001\x00"}
	got := commands(t, c)
	for !slices.Equal(got, want) && wait(ctx) == nil { // the shell may not have come to them yet
		got = commands(t, c)
	}
	if !slices.Equal(got, want) {
		t.Errorf("in the container are %q, want %q", got, want)
	}
	removeRunning(t, c, dir, cmd)
}

// commands gives the command lines of the processes in a container.
func commands(t *testing.T, c *Container) (lines []string) {
	t.Helper()
	pids, err := c.PIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline") // if it is still there
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	return lines
}

// begin starts a container and waits until it says "begun".
func begin(t *testing.T, c *Container) *exec.Cmd {
	t.Helper()
	cmd := c.Command(t.Context())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "begun\n" {
		t.Fatalf("%q: %v", line, err)
	}
	return cmd
}

// removeRunning deletes a container that runs.
func removeRunning(t *testing.T, c *Container, dir string, cmd *exec.Cmd) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	remove(t, c, dir)
	if err := <-ended; err == nil {
		t.Error("no error of what was killed")
	}
}

func running(t *testing.T, b *bench) {
	c, dir := b.shell(t, "echo begun; exec sleep 1000")
	removeRunning(t, c, dir, begin(t, c))
}

// multiplying has processes that start others and end, so that none of a list is there when it is killed.
func multiplying(t *testing.T, b *bench) {
	c, dir := b.shell(t, "f() { f & }; f & f & echo begun; exec sleep 1000")
	removeRunning(t, c, dir, begin(t, c))
}

// killed has the runtime end in the middle of the start.
func killed(t *testing.T, b *bench) {
	for range 20 {
		c, dir := b.shell(t, "exec sleep 1000")
		cmd := c.Command(t.Context())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(1500 * time.Millisecond))
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil { // not its group
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("no error")
		}
		remove(t, c, dir)
	}
}

// A view is what there is on the host that containers may add to.
type view struct{ mounts, cgroups, processes, files []string }

func look(t *testing.T) *view {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	v := &view{mounts: strings.Split(string(text), "\n")}
	err = filepath.WalkDir(cgroupMount, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			v.cgroups = append(v.cgroups, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is right
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil { // the kernel's threads have none
			v.processes = append(v.processes, filepath.Dir(link)+" "+name)
		}
	}
	for _, dir := range []string{"/run", "/run/runc", "/run/crun"} {
		names, _ := filepath.Glob(dir + "/*")
		v.files = append(v.files, names...)
	}
	return v
}

// same holds that all is as it was. The last processes may take a moment to go.
func (v *view) same(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	now := look(t)
	for !slices.Equal(v.processes, now.processes) && wait(ctx) == nil {
		now = look(t)
	}
	for what, lists := range map[string][2][]string{
		"mounts": {v.mounts, now.mounts}, "control groups": {v.cgroups, now.cgroups}, "processes": {v.processes, now.processes}, "files": {v.files, now.files},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s were\n%q\nand are\n%q", what, lists[0], lists[1])
		}
	}
}
