package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"govmm/compare/child"
)

// The test binary is a runtime when it is started by one of these names.
var fakes = map[string]func(args []string) int{
	"fake-runs":  fakeRuns,
	"fake-fails": func([]string) int { fmt.Fprintf(os.Stderr, "first\nit is \x1b[31mbroken\n"); return 3 },
	"fake-hangs": func([]string) int { time.Sleep(time.Hour); return 0 },
	"fake-leaves": func([]string) int {
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command("sleep", "1000")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of the process group
		if err := child.Start(); err != nil {
			return 1
		}
		fmt.Println(child.Process.Pid)
		time.Sleep(time.Hour)
		return 0
	},
	"fake-talks": func([]string) int {
		for range 100 << 4 {
			if _, err := os.Stdout.Write(make([]byte, 64<<10)); err != nil {
				return 1
			}
		}
		return 0
	},
}

func TestMain(m *testing.M) {
	if fake, ok := fakes[filepath.Base(os.Args[0])]; ok {
		os.Exit(fake(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeRuns says its version, and runs bundles without a container.
func fakeRuns(args []string) int {
	if args[0] == "--version" {
		fmt.Print("fake version 1\x1b[0m\nmore\n")
		return 0
	}
	if err := fakeRun(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func fakeRun(args []string) error {
	// --root STATE run --bundle DIR ID, or delete --force ID
	if args[2] == "delete" {
		return os.RemoveAll(filepath.Join(args[1], args[4]))
	}
	n := len(args)
	id, bundle := args[n-1], args[n-2]
	if err := os.MkdirAll(filepath.Join(args[1], id), 0o700); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return err
	}
	var s specs.Spec
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	cmd := exec.Command(s.Process.Args[0], s.Process.Args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.Process.Env, os.Stdout, os.Stderr
	return cmd.Run()
}

// fake gives a runtime that is the test binary by another name.
func fake(t *testing.T, name string) *Runtime {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	r, err := Find(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bundle(t *testing.T, r *Runtime, args ...string) (c *Container, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "with space")
	c, err := r.New(dir, Config{Root: "/", Args: args, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

// remove deletes a container, twice, and holds that its directory is empty.
func remove(t *testing.T, c *Container, dir string) {
	t.Helper()
	for range 2 {
		if err := c.Delete(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Fatalf("left: %v, %v", left, err)
	}
	if pids, err := c.starting(); err != nil || len(pids) > 0 {
		t.Fatalf("processes left: %v, %v", pids, err)
	}
}

func TestFakeRuns(t *testing.T) {
	r := fake(t, "fake-runs")
	if v, err := r.Version(t.Context()); err != nil || v != "fake version 1[0m" {
		t.Errorf("version %q: %v", v, err)
	}
	c, dir := bundle(t, r, "echo", "hello")
	if out, err := c.Command(t.Context()).Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("%q: %v", out, err)
	}
	remove(t, c, dir)
}

func TestNeverStarted(t *testing.T) {
	c, dir := bundle(t, fake(t, "fake-runs"), "true")
	remove(t, c, dir)
}

func TestFakeFails(t *testing.T) {
	r := fake(t, "fake-fails")
	_, err := r.Version(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 3: it is [31mbroken") {
		t.Errorf("%v", err)
	}
	c, dir := bundle(t, r, "true")
	if err := c.Command(t.Context()).Run(); err == nil {
		t.Error("no error")
	}
	remove(t, c, dir)
}

func TestFakeHangs(t *testing.T) {
	r := fake(t, "fake-hangs")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Version(ctx); err == nil {
		t.Error("no error")
	}
	c, dir := bundle(t, r, "true")
	cmd := c.Command(t.Context())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	remove(t, c, dir)
	if err := <-ended; err == nil {
		t.Error("it went on")
	}
}

// TestFakeHangsAtDelete has the runtime know the container, and never delete it.
func TestFakeHangsAtDelete(t *testing.T) {
	c, dir := bundle(t, fake(t, "fake-hangs"), "true")
	if err := os.MkdirAll(filepath.Join(c.state(), c.ID()), 0o700); err != nil {
		t.Fatal(err)
	}
	defer func(limit time.Duration) { runtimeLimit = limit }(runtimeLimit)
	runtimeLimit = 100 * time.Millisecond
	remove(t, c, dir)
}

// TestFakeLeaves kills the runtime, and then there is still a child of its that is in no process group of ours.
func TestFakeLeaves(t *testing.T) {
	c, dir := bundle(t, fake(t, "fake-leaves"), "true")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := c.Command(ctx)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("no error")
	}
	if pids, err := c.starting(); err != nil || len(pids) != 1 || pids[0] != pid {
		t.Errorf("found %v, want %d (%v)", pids, pid, err)
	}
	remove(t, c, dir)
}

func TestFakeTalks(t *testing.T) {
	out, err := child.Output(t.Context(), time.Minute, fake(t, "fake-talks").path)
	if err != nil || len(out) != child.MaxSaid {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}
