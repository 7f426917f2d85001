package probe

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const otherBoot = "00000000-0000-4000-8000-000000000000"

// TestGuard never calls a command such that only the guard's last rule keeps it.
func TestGuard(t *testing.T) {
	guest := place{"1", otherBoot, true}
	host := strings.Replace(otherBoot, "0", "1", 1)
	if err := guest.allow(host); err != nil {
		t.Errorf("in a guest: %v", err)
	}
	for _, c := range []struct {
		place place
		notOn string
	}{
		{place{"", otherBoot, true}, host},
		{place{"yes", otherBoot, true}, host},
		{place{"1", otherBoot, true}, otherBoot},
		{place{"1", otherBoot, true}, ""},
		{place{"1", otherBoot, true}, strings.ToUpper(host) + " "},
		{place{"1", otherBoot, true}, strings.Replace(host, "-", "0", 1)},
		{place{"1", "", true}, host},
		{place{"1", otherBoot, false}, host},
	} {
		if c.place.allow(c.notOn) == nil {
			t.Errorf("%+v with %q is allowed", c.place, c.notOn)
		}
	}
}

func TestHarmRefused(t *testing.T) {
	for _, set := range []string{"", "1"} {
		t.Setenv(HarmVariable, set)
		for _, name := range []string{"panic", "bomb", "exhaust", "fill"} {
			refused(t, name, "-not-on", bootID())
			refused(t, name, "-not-on", "")
			refused(t, name)
		}
	}
}

// TestFillUp fills a little of the disk.
func TestFillUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if f, err := fillUp(path, 2*mib); err != nil || f != (Fill{Bytes: 2 * mib}) {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := fillUp(filepath.Dir(path), mib); err == nil {
		t.Error("a directory was filled as a file")
	}
}

func TestObstacles(t *testing.T) {
	o := output[Obstacles](t, "obstacles")
	if (o.Panic == "") != (canWrite(sysrq) || canWrite(panicOnOOM)) {
		t.Errorf("%+v", o)
	}
	for _, none := range []string{"", "max", noLimit} {
		if s := limitObstacle("pids.max", none); s != "" {
			t.Errorf("%q is an obstacle: %q", none, s)
		}
	}
	if limitObstacle("pids.max", "5") != "pids.max is 5" {
		t.Error("a limit is no obstacle")
	}
}

// TestExplode starts a few processes, and has them all gone.
func TestExplode(t *testing.T) {
	const few = 16
	if b, err := explode(few, time.Minute); err != nil || b != (Bomb{Started: few}) {
		t.Errorf("%+v, %v", b, err)
	}
}
