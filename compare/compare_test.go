package compare

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"govmm/compare/oci"
	"govmm/compare/report"
)

// options make a comparison of fakes: the traits are those of the programs.
func options(t testing.TB, govmm, runtime string, only ...string) Options {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/hello"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	kernel := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(kernel, make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := oci.FromTemplate(program(t, "runtime-"+runtime) + " run {bundle} {id}")
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Govmm: program(t, "govmm-"+govmm), Kernel: kernel, Others: []string{"/boot/other"}, Memory: "256M", Rootfs: root, Command: []string{"hello"}, Probe: self,
		Runtimes: []*oci.Runtime{r}, Runs: 3, Instances: []int{1, 2}, Only: only,
	}
}

func fast(t *testing.T) {
	latencyTime, settleTime = 50*time.Millisecond, time.Millisecond
	t.Cleanup(func() { latencyTime, settleTime = 6*time.Second, 8*time.Second })
	t.Setenv("TMPDIR", t.TempDir())
}

// leftNothing holds that the directory for temporary files is empty.
func leftNothing(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

// claimOf runs a comparison of one claim.
func claimOf(t *testing.T, govmm, runtime, key string) *report.Claim {
	t.Helper()
	r, err := Run(t.Context(), options(t, govmm, runtime, key))
	if err != nil {
		t.Fatal(err)
	}
	leftNothing(t)
	k := r.Claim(key)
	if k == nil || len(r.Claims) != 1 {
		t.Fatalf("claims: %+v", r.Claims)
	}
	return k
}

// TestClaims holds that each claim's verdict depends on what is seen.
func TestClaims(t *testing.T) {
	fast(t)
	for _, tt := range []struct {
		key, govmm, runtime string
		want                report.Verdict
	}{
		{"hardware", "", "", report.Holds},
		{"hardware", "liar", "", report.Partly},
		{"hardware", "", "kernel", report.Partly},
		{"kernel", "", "", report.Holds},
		{"kernel", "liar", "", report.Partly},
		{"kernel", "", "kernel", report.Partly},
		{"resources", "", "", report.Holds},
		{"resources", "liar", "", report.Partly},
		{"resources", "", "kernel", report.Partly},
		{"isolation", "", "", report.Holds},
		{"isolation", "liar", "", report.NotMeasured}, // nothing harms the host
		{"surface", "", "", report.Holds},
		{"surface", "liar", "", report.Partly},
		{"surface", "", "kernel", report.Partly},
		{"startup", "slow", "", report.Holds},
		{"startup", "", "slow", report.Fails},
		{"startup", "", "broken", report.NotMeasured},
		{"size", "", "", report.Holds},
		{"size", "liar", "", report.Partly},
		{"legacy", "", "", report.Holds},
		{"legacy", "liar", "", report.Partly},
		{"legacy", "", "broken", report.Partly},
	} {
		k := claimOf(t, tt.govmm, tt.runtime, tt.key)
		if k.Verdict != tt.want {
			t.Errorf("%s with govmm %q and runtime %q: %s, want %s: %s\n%+v\n%+v", tt.key, tt.govmm, tt.runtime, k.Verdict, tt.want, k.Finding, k.Checks, k.Rows)
		}
	}
}

// TestHostIsSpared has a root file system and a command that would harm the host: where the probe is to lie there is a link out of it, or a pipe, and the command
// writes to the root directory.
func TestHostIsSpared(t *testing.T) {
	fast(t)
	defer os.Remove("/" + mark)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(victim, path) },
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "sub"), 0o500) },
	} {
		o := options(t, "", "", "surface")
		o.Command = []string{"mark"}
		if err := errors.Join(os.Link(filepath.Join(o.Rootfs, "bin/hello"), filepath.Join(o.Rootfs, "bin/mark")),
			make(filepath.Join(o.Rootfs, probeName)), make(filepath.Join(o.Rootfs, containerDisk))); err != nil {
			t.Fatal(err)
		}
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(name, err)
		}
		leftNothing(t)
		if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
			t.Errorf("%s: what the link leads to is %q, %v", name, got, err)
		}
		if _, err := os.Lstat("/" + mark); err == nil {
			t.Error("the command had the host's root directory")
		}
		k := r.Claim("surface")
		if c, _ := k.Rows[0].Cell("host"); c.Figure == nil {
			t.Errorf("%s: %s: %+v (the test must be a static program: CGO_ENABLED=0)", name, k.Rows[0].Title, c)
		}
	}
}

// TestRemoveAll removes directories that cannot be written, which only an ordinary user is kept from.
func TestRemoveAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "top")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "a/b"), 0o755), os.WriteFile(filepath.Join(dir, "a/b/file"), nil, 0o400),
		os.Chmod(filepath.Join(dir, "a/b"), 0o500), os.Chmod(filepath.Join(dir, "a"), 0o500)); err != nil {
		t.Fatal(err)
	}
	if err := removeAll(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestAlone has no container: what is said of containers is not shown.
func TestAlone(t *testing.T) {
	fast(t)
	for _, key := range []string{"hardware", "kernel", "resources", "surface"} {
		k := claimOf(t, "", "broken", key)
		if k.Verdict != report.Partly || !strings.Contains(k.Finding, "No container was seen") {
			t.Errorf("%s: %s: %s", key, k.Verdict, k.Finding)
		}
	}
}

// TestNames has runtimes of one name, which are told apart.
func TestNames(t *testing.T) {
	fast(t)
	o := options(t, "", "", "kernel")
	o.Runtimes = append(o.Runtimes, options(t, "", "kernel").Runtimes[0], o.Runtimes[0])
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for _, s := range r.Subjects {
		ids[s.ID] = true
	}
	if len(ids) != 5 {
		t.Errorf("subjects %v", ids)
	}
}

// TestSpeed looks at the ratios.
func TestSpeed(t *testing.T) {
	fast(t)
	k := claimOf(t, "", "", "speed")
	for _, r := range k.Rows {
		for _, subject := range []string{"host", "vm"} {
			if c, ok := r.Cell(subject); !ok || c.Figure == nil || len(c.Figure.Samples) != speedRuns {
				t.Errorf("%s, %s: %+v", r.ID, subject, c)
			}
		}
	}
	if len(k.Rows) != 12 {
		t.Errorf("%d rows", len(k.Rows))
	}
}

// TestMissing has nothing to compare with, and no virtual machines.
func TestMissing(t *testing.T) {
	fast(t)
	o := options(t, "", "broken")
	o.Kernel, o.Runs = "", 1
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	leftNothing(t)
	if len(r.Claims) != len(Keys()) || len(r.Missing) == 0 {
		t.Fatalf("%d claims, missing: %v", len(r.Claims), r.Missing)
	}
	for _, k := range r.Claims {
		for _, row := range k.Rows {
			for _, c := range row.Cells {
				if c.Subject == "runtime-broken" && strings.ContainsAny(c.Missing, "\n\x1b") {
					t.Errorf("%s: %q", row.ID, c.Missing)
				}
			}
		}
	}
	for _, key := range []string{"hardware", "kernel", "resources", "surface", "memory", "size"} {
		if k := r.Claim(key); k.Verdict != report.NotMeasured {
			t.Errorf("%s: %s: %s", key, k.Verdict, k.Finding)
		}
	}
	if k := r.Claim("startup"); k.Verdict != report.NotMeasured || !strings.Contains(k.Finding, "no kernel") {
		t.Errorf("startup: %s: %s", k.Verdict, k.Finding)
	}
}

// TestCommands has commands that do what a comparison must survive.
func TestCommands(t *testing.T) {
	fast(t)
	for _, tt := range []struct {
		command, runtime, want string
	}{
		{"hello", "hanging", "no end after"},
		{"no-such-command", "", "no-such-command"},
		{"fail", "", "exit status 3: the last words"},
		{"flood", "", ""},
		{"quiet", "", ""},
		{"killed", "", "signal: killed"},
		{"forever", "", "no end after"},
	} {
		o := options(t, "", tt.runtime, "startup")
		o.Command, o.Runs, o.Timeout = []string{tt.command}, 1, 2*time.Second
		for _, name := range []string{"fail", "flood", "quiet", "killed", "forever"} {
			if err := os.Link(filepath.Join(o.Rootfs, "bin/hello"), filepath.Join(o.Rootfs, "bin", name)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(tt.command, err)
		}
		leftNothing(t)
		for _, subject := range []string{"vm", "runtime-" + tt.runtime} {
			if subject == "vm" && tt.runtime != "" {
				continue
			}
			k := r.Claim("startup")
			if len(k.Rows) == 0 {
				t.Fatalf("%s: %+v", tt.command, k)
			}
			c, _ := k.Rows[0].Cell(subject)
			if tt.want == "" && c.Figure == nil || tt.want != "" && !strings.Contains(c.Missing, tt.want) {
				t.Errorf("%s in %s: %+v, want %q", tt.command, subject, c, tt.want)
			}
		}
	}
}

// TestInterrupted ends comparisons at different times.
func TestInterrupted(t *testing.T) {
	fast(t)
	for i := range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*40*time.Millisecond)
		_, err := Run(ctx, options(t, "", ""))
		if err == nil {
			t.Error("no error")
		}
		cancel()
		leftNothing(t)
	}
}

func TestSlope(t *testing.T) {
	if got := slope(map[int]float64{1: 30, 2: 50, 4: 90, 8: 170}); got < 19.99 || got > 20.01 {
		t.Errorf("slope %v, want 20", got)
	}
}

func TestParseStat(t *testing.T) {
	pid, parent, err := parseStat([]byte("42 (a) b) R 7 42 42 0\n"))
	if pid != 42 || parent != 7 || err != nil {
		t.Errorf("%d, %d, %v", pid, parent, err)
	}
	if _, _, err := parseStat([]byte("42 (a")); err == nil {
		t.Error("no error")
	}
}
