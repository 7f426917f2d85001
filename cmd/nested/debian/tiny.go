package debian

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"govmm/bootimage/kernel"
)

const (
	sourceName    = "source" // the link to the package in use
	sourcePackage = "linux-source-6.12"

	gdbScripts = "\nCONFIG_GDB_SCRIPTS=y\n"

	// recipe changes when the same source and configuration come to make another kernel.
	recipe = "1"
)

// RemedyKernel is the command that gets what the build of the tiny kernel needs, and builds it.
const RemedyKernel = "make kernel"

// Tiny returns govmm's own kernel, with the given fragments beside the usual ones, building it when it is not cached,
// which takes minutes. With update it is built from Debian's newest source. It has no modules.
func (c *Cache) Tiny(ctx context.Context, update bool, extra ...string) (Kernel, error) {
	for _, program := range []string{"gcc", "make", "bc", "bison", "flex", "zstd"} {
		if !HasProgram(program) {
			return Kernel{}, fmt.Errorf("%s is not installed, with which the kernel is built; run: %s", program, RemedyKernel)
		}
	}
	b, err := c.plan(ctx, update, extra...)
	if err != nil {
		return Kernel{}, err
	}
	return c.built(ctx, b)
}

// A build is what is to be built.
type build struct {
	config kernel.Config
	source string // directory of the package
	label  string // of the link to the kernel
	name   string // of its directory
}

// plan fetches the source and tells what to build of it. The name says all that the kernel depends on.
func (c *Cache) plan(ctx context.Context, update bool, extra ...string) (build, error) {
	config, err := kernel.New(extra...)
	if err != nil {
		return build{}, err
	}
	compiler, err := c.run(ctx, "", "gcc", "--version")
	if err != nil {
		return build{}, err
	}
	compiler, _, _ = strings.Cut(compiler, "\n")
	source, err := c.source(ctx, update)
	if err != nil {
		return build{}, fmt.Errorf("the kernel's source: %w", err)
	}
	pkg := filepath.Base(source)
	key := sha256.Sum256([]byte(strings.Join([]string{recipe, config.String(), pkg, compiler}, "\n")))
	_, version, _ := strings.Cut(strings.TrimSuffix(pkg, "_all"), "_")
	label := kernel.Label(extra...)
	return build{config: config, source: source, label: label, name: fmt.Sprintf("linux-%s_%s_%x", label, version, key[:6])}, nil
}

// source returns the directory of the unpacked package that has the kernel's source.
func (c *Cache) source(ctx context.Context, update bool) (string, error) {
	cached := func() (string, error) {
		dir, err := filepath.EvalSymlinks(filepath.Join(c.dir, sourceName))
		if err != nil {
			return "", err
		}
		return dir, isSource(dir)
	}
	if dir, err := cached(); err == nil && !update {
		return dir, nil
	}
	unlock, err := c.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if dir, err := cached(); err == nil && !update {
		return dir, nil
	}
	dir, err := c.fetch(ctx, source{name: sourcePackage}, isSource)
	if err != nil {
		return "", err
	}
	if err := c.choose(sourceName, dir); err != nil {
		return "", err
	}
	return cached()
}

// tarball is the source in the directory of its unpacked package.
func tarball(dir string) string { return filepath.Join(dir, "usr/src", sourcePackage+".tar.xz") }

func isSource(dir string) error {
	_, err := os.Stat(tarball(dir))
	return err
}

// built returns the kernel of b, which it builds unless that is done already.
func (c *Cache) built(ctx context.Context, b build) (Kernel, error) {
	if k, err := c.chosen(b); err == nil {
		return k, nil
	}
	// Not the lock for fetching, which others would wait for as long as this takes.
	unlock, err := c.lockFile(".lock-" + b.label)
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	dir := filepath.Join(c.dir, b.name)
	if _, err := openTiny(dir); err != nil {
		if err := c.buildAside(ctx, b); err != nil {
			return Kernel{}, err
		}
	}
	if err := c.choose(b.label, dir); err != nil {
		return Kernel{}, err
	}
	return c.chosen(b)
}

// chosen returns the kernel that the link of b's label leads to, if that is the one to be built.
func (c *Cache) chosen(b build) (Kernel, error) {
	to, err := os.Readlink(filepath.Join(c.dir, b.label))
	if err != nil {
		return Kernel{}, err
	}
	if to != b.name {
		return Kernel{}, fmt.Errorf("%s is another kernel", b.label)
	}
	return openTiny(filepath.Join(c.dir, to))
}

// buildAside builds in a directory of its own, which is there afterwards only if that failed, and puts the kernel in
// its place. The caller holds the label's lock.
func (c *Cache) buildAside(ctx context.Context, b build) error {
	// Always of the same name, because paths find their way into debugging information.
	tmp := filepath.Join(c.dir, ".build-"+b.label)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	if err := c.build(ctx, b, tmp); err != nil {
		return fmt.Errorf("building the kernel in %s: %w", tmp, err)
	}
	if _, err := c.place(filepath.Join(tmp, "out"), b.name); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// openTiny finds the image in a directory that build has made.
func openTiny(dir string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil {
		return Kernel{}, err
	}
	if len(images) != 1 {
		return Kernel{}, fmt.Errorf("%s: %d kernels, not one", dir, len(images))
	}
	return Kernel{Version: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-"), Image: images[0]}, nil
}

// unneeded is what takes half of the source's room and none of the configurations has a use for: other
// architectures than x86, and drivers of graphics. Their Kconfig files are read all the same.
var unneeded = []string{sourcePackage + "/arch/[a-wyz]*.[chS]", sourcePackage + "/arch/[a-wyz]*.dts*", sourcePackage + "/drivers/gpu/*.[ch]"}

// build makes the kernel below dir, and leaves it in dir/out as Debian's packages have theirs.
func (c *Cache) build(ctx context.Context, b build, dir string) error {
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	c.log.Info("unpacking the kernel's source", "from", b.source)
	unpack := []string{"tar", "-xf", tarball(b.source), "--strip-components=1"}
	for _, pattern := range unneeded {
		unpack = append(unpack, "--exclude="+pattern)
	}
	if _, err := c.run(ctx, tree, unpack...); err != nil {
		return err
	}
	m := &maker{tree: tree, log: filepath.Join(dir, "log")}
	if err := os.WriteFile(filepath.Join(tree, "govmm.config"), []byte(b.config.String()), 0o644); err != nil {
		return err
	}
	if err := m.make(ctx, "KCONFIG_ALLCONFIG=govmm.config", "allnoconfig"); err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(tree, ".config"))
	if err != nil {
		return err
	}
	if err := b.config.Check(string(got)); err != nil {
		return fmt.Errorf("options that do not hold, because they do not exist or need others:\n%w", err)
	}
	c.log.Info("building the kernel, which takes minutes", "log", m.log)
	if err := m.make(ctx, "bzImage"); err != nil {
		return err
	}
	if strings.Contains(string(got), gdbScripts) {
		if err := m.make(ctx, "scripts_gdb"); err != nil {
			return err
		}
	}
	c.log.Info("built the kernel", "cpu time", m.cpu.Round(time.Second))
	return install(tree, filepath.Join(dir, "out"))
}

// install moves what was built to dir: the kernel and what belongs to it as in Debian's packages, and in debug what is
// for gdb.
func install(tree, dir string) error {
	release, err := os.ReadFile(filepath.Join(tree, "include/config/kernel.release"))
	if err != nil {
		return err
	}
	version := strings.TrimSpace(string(release))
	files := map[string]string{
		"arch/x86/boot/bzImage": "boot/vmlinuz-" + version,
		"System.map":            "boot/System.map-" + version,
		".config":               "boot/config-" + version,
		"vmlinux":               "debug/vmlinux", // with its symbols
	}
	if _, err := os.Stat(filepath.Join(tree, "scripts/gdb/linux/constants.py")); err == nil {
		files["scripts/gdb/vmlinux-gdb.py"] = "debug/vmlinux-gdb.py"
		files["scripts/gdb/linux"] = "debug/scripts/gdb/linux"
	}
	for from, to := range files {
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(tree, from), to); err != nil {
			return err
		}
	}
	k, err := openTiny(dir)
	if err != nil {
		return err
	}
	_, err = k.Vmlinux()
	return err
}

// A maker runs make in the kernel's tree.
type maker struct {
	tree string
	log  string // file that make's output goes to
	cpu  time.Duration
}

func (m *maker) make(ctx context.Context, args ...string) error {
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "make", append([]string{fmt.Sprintf("-j%d", runtime.NumCPU()), "ARCH=x86_64"}, args...)...)
	cmd.Dir = m.tree
	// Nothing of the caller's, whose own make and compiler flags would have a say, and nothing that differs
	// from one build to the next.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C",
		"KBUILD_BUILD_TIMESTAMP=1970-01-01",
		"KBUILD_BUILD_USER=govmm",
		"KBUILD_BUILD_HOST=govmm",
		"KBUILD_BUILD_VERSION=1",
	}
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Run()
	if cmd.ProcessState != nil {
		m.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		return fmt.Errorf("make %s: %w; see %s", args[len(args)-1], err, m.log)
	}
	return nil
}
