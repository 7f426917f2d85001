//go:build linuxtest

package main

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	started := time.Now()
	k.complete()
	took := time.Since(started)
	for i := range kills {
		if i%4 == 0 { // the kernel is unpacked again
			if err := os.RemoveAll(filepath.Join(k.cache, "govmm")); err != nil {
				t.Fatal(err)
			}
		}
		k.kill(took)
		if left, err := os.ReadDir(k.tmp); err != nil || len(left) > 0 {
			t.Fatalf("after kill %d: in TMPDIR are %v, %v", i+1, left, err)
		}
		if i%8 == 5 {
			k.complete()
		}
	}
	k.complete()
	guesttest.Figure(t, "kills-run", kills)
}

// A runKiller starts govmm run, always with the same command, directories and port.
type runKiller struct {
	t                  *testing.T
	r                  *rand.Rand
	tmp, cache, rootfs string
}

// args have the command write to its own file system for a while.
func (k *runKiller) args() []string {
	return runArgs(k.t, k.rootfs, "--net", "user", "/bin/sh", "-c", "echo begun; for i in 1 2 3 4 5; do echo $i >/file; done; cat /file")
}

func (k *runKiller) environment() []string {
	return []string{"TMPDIR=" + k.tmp, "XDG_CACHE_HOME=" + k.cache}
}

// complete lets it come to its end.
func (k *runKiller) complete() {
	k.t.Helper()
	c := command(k.t, k.args()...)
	c.Env = append(c.Env, k.environment()...)
	if r := finish(k.t, c); r.status != 0 || r.stdout != "begun\n5\n" || r.stderr != "" {
		k.t.Fatal(r)
	}
}

// kill kills it within the time that it takes.
func (k *runKiller) kill(within time.Duration) {
	k.t.Helper()
	c := command(k.t, k.args()...)
	c.Env = append(c.Env, k.environment()...)
	out, err := c.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		k.t.Fatal(err)
	}
	time.Sleep(time.Duration(k.r.Int64N(int64(within))))
	if err := c.Process.Kill(); err != nil {
		k.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out) // ends when no process has the pipe any more
	_ = c.Wait()
}
