package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// A QEMU is an installed or unpacked qemu-system-x86_64.
type QEMU struct {
	Program string   // name or path
	Data    []string // directories of its firmware; none if it knows them itself
}

// systemQEMU is the one that Debian's package has installed.
var systemQEMU = QEMU{Program: "qemu-system-x86_64"}

// qemuName is that of the link to the QEMU in use, beside those of the kernels.
const qemuName = "qemu"

// QEMU returns the QEMU for the test host: the one that FetchQEMU has unpacked, or else the system's. It
// fetches nothing.
func (c *Cache) QEMU() QEMU {
	if q, err := c.cachedQEMU(); err == nil {
		return q
	}
	return systemQEMU
}

// FetchQEMU gets QEMU 10 from Debian's backports and takes its known faults out. The system's is no good:
// guests hang on it, and with 7.2, that of Debian 12, even the kernel that runs them. It takes no
// privilege and installs nothing; the libraries are those of the system's QEMU. One that is
// cached already, from when fewer faults were known, is mended where it is.
func (c *Cache) FetchQEMU(ctx context.Context) error {
	if q, err := c.cachedQEMU(); err == nil && mended(q.Program) {
		return nil
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if q, err := c.cachedQEMU(); err == nil {
		c.mendQEMU(q)
		return nil
	}
	dir, err := c.unpackQEMU(ctx)
	if err != nil {
		return fmt.Errorf("QEMU from Debian's backports: %w", err)
	}
	return c.choose(qemuName, dir)
}

// mendQEMU mends q, or warns, and tells which. The caller holds the lock.
func (c *Cache) mendQEMU(q QEMU) bool {
	if err := mend(q.Program); err != nil {
		c.log.Warn("guests may hang now and then", "err", err)
		return false
	}
	return true
}

// major returns the first number in the output of "qemu --version", 0 if there is none.
func major(output string) int {
	n, _ := strconv.Atoi(digits.FindString(output))
	return n
}

// cachedQEMU returns the QEMU that the link leads to.
func (c *Cache) cachedQEMU() (QEMU, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(c.dir, qemuName))
	if err != nil {
		return QEMU{}, err
	}
	return openQEMU(dir)
}

// openQEMU finds program and firmware in a directory of unpacked packages.
func openQEMU(dir string) (QEMU, error) {
	q := QEMU{
		Program: filepath.Join(dir, "usr/bin/qemu-system-x86_64"),
		Data:    []string{filepath.Join(dir, "usr/share/qemu"), filepath.Join(dir, "usr/share/seabios")},
	}
	for _, path := range append(q.Data, q.Program) {
		if _, err := os.Stat(path); err != nil {
			return QEMU{}, err
		}
	}
	return q, nil
}

// unpackQEMU fetches the packages and returns the directory where they are unpacked. The caller
// holds the lock.
func (c *Cache) unpackQEMU(ctx context.Context) (string, error) {
	const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	const suite = "bookworm-backports"
	list := filepath.Join(c.dir, "backports.list")
	line := fmt.Sprintf("deb [signed-by=%s] http://deb.debian.org/debian %s main\n", keyring, suite)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return "", err
	}
	options, listsErr := c.lists(ctx, suite, "-o", "Dir::Etc::SourceList="+list, "-o", "Dir::Etc::SourceParts=-")
	tmp, err := c.workDir()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	c.log.Info("fetching QEMU", "from", suite)
	download := slices.Concat([]string{"apt-get", "download"}, options)
	for _, pkg := range []string{"qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"} {
		download = append(download, pkg+"/"+suite)
	}
	if _, err := c.run(ctx, tmp, download...); err != nil {
		return "", errors.Join(err, listsErr)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return "", err
	}
	unpacked := filepath.Join(tmp, "unpacked")
	for _, deb := range debs {
		if _, err := c.run(ctx, tmp, "dpkg", "-x", deb, unpacked); err != nil {
			return "", err
		}
	}
	q, err := openQEMU(unpacked)
	if err != nil {
		return "", err
	}
	// It also tells of libraries that are missing.
	version, err := c.run(ctx, tmp, q.Program, "--version")
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("qemu-%d-%s", major(version), suite)
	if c.mendQEMU(q) {
		name += "-mended"
	}
	return c.place(unpacked, name)
}
