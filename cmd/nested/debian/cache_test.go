package debian

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeApt answers as apt and dpkg do, with a package of the given version.
type fakeApt struct {
	mu        sync.Mutex
	abi       string
	downloads int
	updates   int
	fail      bool
}

func (a *fakeApt) run(_ context.Context, dir string, args ...string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail {
		return "", errors.New("no network")
	}
	version := "6.1.0-" + a.abi + "-amd64"
	switch args[0] {
	case "apt-cache":
		return "linux-image-amd64\n  Depends: linux-image-" + version + "\n", nil
	case "apt-get":
		if args[1] == "update" {
			a.updates++
			return "", nil
		}
		a.downloads++
		pkg := args[len(args)-1]
		return "", os.WriteFile(filepath.Join(dir, pkg+"_1_amd64.deb"), nil, 0o644)
	case "dpkg":
		to := args[len(args)-1]
		return "", errors.Join(
			os.MkdirAll(filepath.Join(to, "lib/modules", version), 0o755),
			os.MkdirAll(filepath.Join(to, "boot"), 0o755),
			os.WriteFile(filepath.Join(to, "boot", "vmlinuz-"+version), nil, 0o644),
		)
	}
	return "", errors.New("unexpected program " + args[0])
}

func newTestCache(t *testing.T, apt *fakeApt) *Cache {
	t.Helper()
	c, err := NewCache(Config{Dir: filepath.Join(t.TempDir(), "kernels")})
	if err != nil {
		t.Fatal(err)
	}
	c.run = apt.run
	return c
}

func TestCache(t *testing.T) {
	apt := &fakeApt{abi: "56"}
	c := newTestCache(t, apt)
	want := filepath.Join(c.dir, "linux-image-6.1.0-56-amd64_1_amd64")
	k, err := c.Kernel(t.Context(), Full61, false)
	if err != nil {
		t.Fatal(err)
	}
	if k.Version != "6.1.0-56-amd64" || k.Image != want+"/boot/vmlinuz-6.1.0-56-amd64" || k.Modules != want+"/lib/modules/6.1.0-56-amd64" {
		t.Errorf("%+v", k)
	}

	// A cached kernel needs no apt, even when there is a newer one.
	apt.fail = true
	if again, err := c.Kernel(t.Context(), Full61, false); again != k || err != nil {
		t.Errorf("second time: %+v, %v", again, err)
	}
	apt.fail = false
	apt.abi = "57"
	if again, err := c.Kernel(t.Context(), Full61, false); again != k || err != nil {
		t.Errorf("with a newer one to be had: %+v, %v", again, err)
	}
	newer, err := c.Kernel(t.Context(), Full61, true)
	if newer.Version != "6.1.0-57-amd64" || err != nil {
		t.Errorf("update: %+v, %v", newer, err)
	}
	if _, err := os.Stat(k.Image); err != nil {
		t.Errorf("the update took away what others may be using: %v", err)
	}
	hidden, err := filepath.Glob(filepath.Join(c.dir, ".[fl]*-*"))
	if len(hidden) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", hidden, err)
	}
}

func TestCacheFetchesOnce(t *testing.T) {
	apt := &fakeApt{abi: "56"}
	c := newTestCache(t, apt)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			// A cache of its own, as another process has.
			other := &Cache{dir: c.dir, log: c.log, run: apt.run}
			if _, err := other.Kernel(context.Background(), Full61, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if apt.downloads != 1 || apt.updates != 1 {
		t.Errorf("%d downloads, package lists fetched %d times", apt.downloads, apt.updates)
	}
}

func TestCacheRenewsOldLists(t *testing.T) {
	apt := &fakeApt{abi: "56"}
	c := newTestCache(t, apt)
	if _, err := c.Kernel(t.Context(), Full61, false); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * listsAge)
	if err := os.Chtimes(filepath.Join(c.dir, "apt", "system", "fetched"), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kernel(t.Context(), Full61, true); err != nil || apt.updates != 2 {
		t.Errorf("package lists fetched %d times, %v", apt.updates, err)
	}
}

func TestCacheSweepsRemains(t *testing.T) {
	apt := &fakeApt{abi: "56"}
	c := newTestCache(t, apt)
	remains := filepath.Join(c.dir, fetchPrefix+"killed")
	half := filepath.Join(c.dir, "linux-image-6.1.0-56-amd64_1_amd64", "boot")
	if err := errors.Join(os.MkdirAll(remains, 0o755), os.MkdirAll(half, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kernel(t.Context(), Full61, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(remains); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("remains of a killed process: %v", err)
	}
}

func TestCacheError(t *testing.T) {
	c := newTestCache(t, &fakeApt{fail: true})
	_, err := c.Kernel(t.Context(), Full61, false)
	if err == nil || !strings.Contains(err.Error(), Full61) || !strings.Contains(err.Error(), "no network") {
		t.Errorf("%v: does not tell what failed and why", err)
	}
}
