// Package debian gets stock kernels and a good QEMU, builds the tiny kernel from
// Debian's source, and tells which packages the nested test host lacks.
//
// Kernels come by apt-get download and dpkg -x, so it takes no privilege and
// installs nothing. They stay in the user's cache directory:
//
//	govmm/kernels/linux-image-6.1.0-56-amd64_6.1.192-2_amd64/    the unpacked package
//	govmm/kernels/6.1-full -> linux-image-6.1.0-56-amd64_6...    the one in use
//	govmm/kernels/qemu -> qemu-10-bookworm-backports-mended      the test host's
//	govmm/kernels/apt/                                           package lists of our own
//	govmm/kernels/source -> linux-source-6.12_6.12.117-1_all     of the tiny kernel
//	govmm/kernels/tiny -> linux-tiny_6.12.117-1_0123456789ab     built
//
// Any number of processes may use the cache at once: a package is unpacked
// beside its place and renamed, and a lock lets one process fetch while the
// others wait. Once cached, a kernel is found without asking apt.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Config says where kernels are kept. The zero value is ready to use.
type Config struct {
	Dir string       // empty means govmm/kernels in the user's cache directory
	Log *slog.Logger // nil is silent
}

// A Cache provides kernels. Its methods may be called from any goroutine.
type Cache struct {
	dir string
	log *slog.Logger
	// run starts a program and returns its standard output; tests replace it.
	run func(ctx context.Context, dir string, args ...string) (string, error)
}

// NewCache returns a Cache. It touches no file.
func NewCache(cfg Config) (*Cache, error) {
	c := &Cache{dir: cfg.Dir, log: cfg.Log, run: run}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place for kernels: %w", err)
		}
		c.dir = filepath.Join(user, "govmm", "kernels")
	}
	return c, nil
}

// A Kernel is an unpacked kernel package. All paths are absolute.
type Kernel struct {
	Version string // as in uname -r
	Image   string // the vmlinuz
	Modules string // its /lib/modules/VERSION directory
}

// Kernel returns the kernel of a name in Names, fetching it when it is not
// cached. With update it fetches Debian's newest, if that is not the cached one.
func (c *Cache) Kernel(ctx context.Context, name string, update bool) (Kernel, error) {
	src, err := sourceOf(name)
	if err != nil {
		return Kernel{}, err
	}
	if k, err := c.cached(name); err == nil && !update {
		return k, nil
	}
	unlock, err := c.lock()
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	// Whoever held the lock may have fetched it.
	if k, err := c.cached(name); err == nil && !update {
		return k, nil
	}
	dir, err := c.fetch(ctx, src, isKernel)
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %s: %w", name, err)
	}
	if err := c.choose(name, dir); err != nil {
		return Kernel{}, err
	}
	return c.cached(name)
}

// cached returns the kernel that the link of the given name leads to.
func (c *Cache) cached(name string) (Kernel, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(c.dir, name))
	if err != nil {
		return Kernel{}, err
	}
	return open(dir)
}

// open finds image and modules in an unpacked package.
func open(dir string) (Kernel, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Kernel{}, err
	}
	const prefix = "vmlinuz-"
	images, err := filepath.Glob(filepath.Join(dir, "boot", prefix+"*"))
	if err != nil {
		return Kernel{}, err
	}
	if len(images) != 1 {
		return Kernel{}, fmt.Errorf("%s: %d kernels, not one: remove the directory", dir, len(images))
	}
	version := strings.TrimPrefix(filepath.Base(images[0]), prefix)
	// Packages since Debian 13 have only usr/lib.
	for _, lib := range []string{"lib", "usr/lib"} {
		modules := filepath.Join(dir, lib, "modules", version)
		if _, err := os.Stat(modules); err == nil {
			return Kernel{Version: version, Image: images[0], Modules: modules}, nil
		}
	}
	return Kernel{}, fmt.Errorf("%s: no modules of kernel %s: remove the directory", dir, version)
}

// isKernel reports an error unless dir is an unpacked kernel package.
func isKernel(dir string) error {
	_, err := open(dir)
	return err
}

// fetch downloads and unpacks the package of src, unless that is done already,
// and returns its directory. Check tells whether a directory is such a package,
// unpacked. The caller holds the lock.
func (c *Cache) fetch(ctx context.Context, src source, check func(dir string) error) (string, error) {
	options, listsErr := c.lists(ctx, "system")
	pkg, err := c.resolve(ctx, src, options)
	if err != nil {
		return "", errors.Join(err, listsErr)
	}
	tmp, err := c.workDir()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	c.log.Info("fetching", "package", pkg)
	if _, err := c.run(ctx, tmp, slices.Concat([]string{"apt-get", "download"}, options, []string{pkg})...); err != nil {
		return "", errors.Join(err, listsErr)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return "", err
	}
	if len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d packages, not one", pkg, len(debs))
	}
	name := strings.TrimSuffix(filepath.Base(debs[0]), ".deb")
	dir := filepath.Join(c.dir, name)
	if err := check(dir); err == nil {
		return dir, nil
	}
	unpacked := filepath.Join(tmp, "unpacked")
	if _, err := c.run(ctx, tmp, "dpkg", "-x", debs[0], unpacked); err != nil {
		return "", err
	}
	if err := check(unpacked); err != nil {
		return "", err
	}
	return c.place(unpacked, name)
}

// place gives the directory of an unpacked package its name in the cache and returns its path.
func (c *Cache) place(unpacked, name string) (string, error) {
	dir := filepath.Join(c.dir, name)
	// What stands there and does not open is the remains of something else.
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Rename(unpacked, dir)
}

// fetchPrefix begins the names of directories in which a package is unpacked.
const fetchPrefix = ".fetch-"

// workDir returns a new directory to download and unpack in, and removes those of others. The caller
// holds the lock, and removes the directory.
func (c *Cache) workDir() (string, error) {
	if err := c.sweep(); err != nil {
		return "", err
	}
	return os.MkdirTemp(c.dir, fetchPrefix)
}

// sweep removes what killed processes left. The caller holds the lock, so no
// one else is at work there.
func (c *Cache) sweep() error {
	old, err := filepath.Glob(filepath.Join(c.dir, fetchPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// resolve asks apt, with the given options, for the name of the package of src.
func (c *Cache) resolve(ctx context.Context, src source, options []string) (string, error) {
	if src.name != "" {
		return src.name, nil
	}
	query := []string{"depends", src.meta}
	if src.search != "" {
		query = []string{"search", "--names-only", src.search}
	}
	out, err := c.run(ctx, c.dir, slices.Concat([]string{"apt-cache"}, options, query)...)
	if err != nil {
		return "", err
	}
	if src.search != "" {
		return src.newest(out)
	}
	return src.dependency(out)
}

// choose makes the link of the given name lead to dir, in one step.
func (c *Cache) choose(name, dir string) error {
	tmp := filepath.Join(c.dir, ".link-"+name)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(dir), tmp); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(c.dir, name))
}

// lock makes the cache's directory and waits until no other process fetches.
func (c *Cache) lock() (unlock func(), err error) { return c.lockFile(".lock") }

// lockFile makes the cache's directory and waits until no other process holds the lock of the
// given name.
func (c *Cache) lockFile(name string) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "flock", Path: f.Name(), Err: err}, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
