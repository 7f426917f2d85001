package debian

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmm/bootimage/kernel"
)

// fakeSource answers as apt does, with a source package, and as a compiler.
type fakeSource struct{ version, compiler string }

func (s *fakeSource) run(_ context.Context, dir string, args ...string) (string, error) {
	switch args[0] {
	case "gcc":
		return s.compiler + "\nand its license", nil
	case "apt-get":
		if args[1] == "update" {
			return "", nil
		}
		return "", os.WriteFile(filepath.Join(dir, args[len(args)-1]+"_"+s.version+"_all.deb"), nil, 0o644)
	case "dpkg":
		file := tarball(args[len(args)-1])
		return "", errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644))
	}
	return "", errors.New("unexpected program " + args[0])
}

func newTinyCache(t *testing.T, s *fakeSource) *Cache {
	t.Helper()
	c := newTestCache(t, &fakeApt{})
	c.run = s.run
	return c
}

func mustPlan(t *testing.T, c *Cache, update bool, extra ...string) build {
	t.Helper()
	b, err := c.plan(t.Context(), update, extra...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPlan(t *testing.T) {
	s := &fakeSource{version: "6.12.9-1", compiler: "gcc 12"}
	c := newTinyCache(t, s)
	first := mustPlan(t, c, false)
	if !strings.HasPrefix(first.name, "linux-tiny_6.12.9-1_") || first.label != "tiny" {
		t.Errorf("%+v", first)
	}
	mine := filepath.Join(t.TempDir(), "mine.config")
	if err := os.WriteFile(mine, []byte("CONFIG_X=y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b := mustPlan(t, c, false, mine); b.label != "tiny-mine" || strings.HasSuffix(b.name, first.name[len(first.name)-12:]) {
		t.Errorf("with a fragment %+v", b)
	}
	s.version = "6.12.10-1"
	if b := mustPlan(t, c, false); b.name != first.name {
		t.Errorf("%s, and nobody asked for newer source", b.name)
	}
	if b := mustPlan(t, c, true); !strings.HasPrefix(b.name, "linux-tiny_6.12.10-1_") {
		t.Errorf("the update is %s", b.name)
	}
	before := mustPlan(t, c, false).name
	s.compiler = "gcc 14"
	if b := mustPlan(t, c, false); b.name == before {
		t.Errorf("another compiler, and the kernel is %s still", b.name)
	}
}

// fakeKernel puts a kernel where build leaves it.
func fakeKernel(t *testing.T, dir string) {
	t.Helper()
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "boot"), 0o755),
		os.WriteFile(filepath.Join(dir, "boot", "vmlinuz-6.12.9-govmm"), nil, 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// What has been built is found again without building, and its link leads to the one that was last asked for.
func TestBuiltIsCached(t *testing.T) {
	c := newTinyCache(t, &fakeSource{version: "6.12.9-1"})
	b := build{label: "tiny", name: "linux-tiny_1_a"}
	other := build{label: "tiny", name: "linux-tiny_1_b"}
	for _, b := range []build{b, other, b} {
		fakeKernel(t, filepath.Join(c.dir, b.name))
		k, err := c.built(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if k.Version != "6.12.9-govmm" || k.Image != filepath.Join(c.dir, b.name, "boot/vmlinuz-6.12.9-govmm") {
			t.Errorf("%+v", k)
		}
		if to, err := os.Readlink(filepath.Join(c.dir, "tiny")); to != b.name || err != nil {
			t.Errorf("the link leads to %s, %v", to, err)
		}
	}
}

// fakeTree is a kernel's source as far as the build is concerned: make does what the script says.
func fakeTree(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	makefile := "allnoconfig bzImage:\n\t" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMakerTellsWhatFailed(t *testing.T) {
	t.Setenv("MAKEFLAGS", "--no-such-flag")
	m := &maker{tree: fakeTree(t, "@echo $@ failed; exit 1"), log: filepath.Join(t.TempDir(), "log")}
	err := m.make(t.Context(), "X=1", "bzImage")
	if err == nil || !strings.Contains(err.Error(), "make bzImage") || !strings.Contains(err.Error(), m.log) {
		t.Errorf("%v", err)
	}
	if log, err := os.ReadFile(m.log); err != nil || !strings.Contains(string(log), "bzImage failed") {
		t.Errorf("log %q, %v", log, err)
	}
}

// An option that the kernel's build drops ends the build, before anything is compiled.
func TestDroppedOption(t *testing.T) {
	config, err := kernel.New()
	if err != nil {
		t.Fatal(err)
	}
	c := newTinyCache(t, &fakeSource{})
	c.run = func(_ context.Context, dir string, args ...string) (string, error) {
		return "", os.Rename(filepath.Join(fakeTree(t, "@test $@ = allnoconfig && grep -v CONFIG_SMP= $(KCONFIG_ALLCONFIG) >.config"), "Makefile"), filepath.Join(dir, "Makefile"))
	}
	dir := t.TempDir()
	err = c.build(t.Context(), build{config: config, source: dir, label: "tiny", name: "x"}, dir)
	if err == nil || !strings.HasSuffix(err.Error(), ":\nCONFIG_SMP=y has become n") {
		t.Errorf("%v", err)
	}
}
