//go:build linuxtest

package main

import (
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"govmm/machine/guesttest"
)

// TestTinyKillRun kills govmm run at random moments: of its start, with and without a kernel in the cache, and of its command's. Nothing
// stays that the next run would stumble over, and no temporary file.
func TestTinyKillRun(t *testing.T) {
	kills := guesttest.Count(t, "GOVMM_TEST_RUN_KILLS", 4)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := &runKiller{t: t, r: rand.New(rand.NewPCG(seed, 0)), tmp: t.TempDir(), cache: t.TempDir(), rootfs: userlandDir(t)}
	cold, warm := k.complete(), k.complete()
	for n := 0; k.killed < kills; n++ {
		within := warm
		if n%4 == 0 { // the kernel is unpacked again
			must(t, os.RemoveAll(filepath.Join(k.cache, "govmm")))
			within = cold
		}
		k.kill(within)
		if left, err := os.ReadDir(k.tmp); err != nil || len(left) > 0 {
			t.Fatalf("after kill %d: in TMPDIR are %v, %v", k.killed, left, err)
		}
		if n%8 == 5 {
			k.complete()
		}
	}
	k.complete()
	guesttest.Figure(t, "kills-run", kills)
}

// A runKiller starts govmm run, always with the same command and directories.
type runKiller struct {
	t                  *testing.T
	r                  *rand.Rand
	tmp, cache, rootfs string
	killed             int // runs that had not ended by themselves
}

// command has the guest's command write to its own file system for a while.
func (k *runKiller) command() *exec.Cmd {
	k.t.Helper()
	c := command(k.t, runArgs(k.t, k.rootfs, "--net", "user", "/bin/sh", "-c", "echo begun; for i in 1 2 3 4 5; do echo $i >/file; done; cat /file")...)
	c.Env = append(c.Env, "TMPDIR="+k.tmp, "XDG_CACHE_HOME="+k.cache)
	return c
}

// complete lets it come to its end, and gives the time that it took.
func (k *runKiller) complete() time.Duration {
	k.t.Helper()
	started := time.Now()
	if r := finish(k.t, k.command()); r.status != 0 || r.stdout != "begun\n5\n" || r.stderr != "" {
		k.t.Fatal(r)
	}
	return time.Since(started)
}

// kill kills it within the time that it takes.
func (k *runKiller) kill(within time.Duration) {
	k.t.Helper()
	c := k.command()
	out, err := c.StdoutPipe()
	must(k.t, err)
	must(k.t, c.Start())
	time.Sleep(time.Duration(k.r.Int64N(int64(within))))
	must(k.t, c.Process.Kill())
	_, _ = io.Copy(io.Discard, out) // ends when no process has the pipe any more
	_ = c.Wait()
	if c.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		k.killed++
	}
}
