//go:build kvmtest

package machine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// hostFiles are a disk image and what is beside it.
type hostFiles struct {
	dir      string
	writable bool // the image may be written
	before   map[string]string
}

func newHostFiles(t *testing.T, writable bool) *hostFiles {
	t.Helper()
	f := &hostFiles{dir: t.TempDir(), writable: writable}
	for name, size := range map[string]int{"disk.img": hostileDisk, "before.img": 4096, "zbehind": 4096, "directory/file": 100} {
		path := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte("not yours"), size/9+1)[:size], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.before = f.look(t)
	return f
}

// look gives each file's size and content, as far as it must not change.
func (f *hostFiles) look(t *testing.T) map[string]string {
	t.Helper()
	seen := make(map[string]string)
	err := filepath.WalkDir(f.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		seen[path] = fmt.Sprintf("%d bytes, %x", len(content), sha256.Sum256(content))
		if f.writable && path == diskPath(f.dir) {
			seen[path] = fmt.Sprintf("%d bytes", len(content))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func (f *hostFiles) check(t *testing.T) {
	t.Helper()
	after := f.look(t)
	if len(after) != len(f.before) {
		t.Errorf("files were %v, are %v", f.before, after)
	}
	for path, was := range f.before {
		if after[path] != was {
			t.Errorf("%s was %s, is %s", path, was, after[path])
		}
	}
}

// weight is what the process holds beside guests' RAM.
type weight struct {
	holdings
	heap, resident int
}

func weigh(t *testing.T) weight {
	t.Helper()
	runtime.GC() // what pools keep goes at the second collection
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w := weight{holdings: hold(t), heap: int(m.HeapAlloc)}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	w.resident = kib << 10
	return w
}

// Growth that is the runtime's: threads' stacks, and what its pools keep.
const (
	heapSlack     = 4 << 20
	residentSlack = 24 << 20
)

// check holds that nothing has grown since w was taken, and returns by how much it did.
func (w weight) check(t *testing.T) weight {
	t.Helper()
	checkHoldings(t, w.holdings)
	now := weigh(t)
	grown := weight{heap: now.heap - w.heap, resident: now.resident - w.resident}
	grown.descriptors, grown.goroutines = now.descriptors-w.descriptors, now.goroutines-w.goroutines
	if grown.heap > heapSlack || grown.resident > residentSlack {
		t.Errorf("the heap grew by %d KiB, resident memory by %d KiB", grown.heap>>10, grown.resident>>10)
	}
	return grown
}

// goMemory is what the Go runtime has of the host's memory.
func goMemory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// checkRest holds that the monitor comes to rest: its threads, but for those of m's vCPUs, stop using processors.
func (a *attack) checkRest(m *Machine) {
	a.t.Helper()
	const window, quiet = 100 * time.Millisecond, 20 * time.Millisecond
	var used time.Duration
	for range int(promptly / window) {
		before := threadTimes(a.t, m)
		time.Sleep(window)
		used = 0
		for tid, now := range threadTimes(a.t, m) {
			used += now - before[tid]
		}
		if used < quiet {
			return
		}
	}
	a.t.Errorf("seed %d, guest %d: the monitor uses %v of %v, and does not come to rest", a.seed, a.guests-1, used, window)
}

// threadTimes is the processor time of each thread that is none of m's vCPUs'.
func threadTimes(t *testing.T, m *Machine) map[int]time.Duration {
	t.Helper()
	vcpus := make(map[int]bool)
	if m != nil {
		for _, v := range m.vcpus {
			vcpus[int(v.tid.Load())] = true
		}
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	times := make(map[int]time.Duration)
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil || vcpus[tid] {
			continue
		}
		// Its first field is the time on a processor in nanoseconds.
		stat, err := os.ReadFile("/proc/self/task/" + task.Name() + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		times[tid] = time.Duration(ns)
	}
	return times
}

// A lineCount is a slog.Handler that counts the lines that people would see.
type lineCount struct{ atomic.Int64 }

func (c *lineCount) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (c *lineCount) WithAttrs([]slog.Attr) slog.Handler               { return c }
func (c *lineCount) WithGroup(string) slog.Handler                    { return c }
func (c *lineCount) Handle(context.Context, slog.Record) error {
	c.Add(1)
	return nil
}
